"""Libraries whose logs quote what stands in a header."""

import logging

TALKATIVE = ("highdicom", "pydicom")


def silence() -> None:
    """Have them log nothing from now on: a value that breaks a rule may be a patient's name."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
