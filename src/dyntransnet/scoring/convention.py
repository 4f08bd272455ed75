"""By whose rules masks are scored."""

from enum import StrEnum


class Convention(StrEnum):
    """``lits`` is the scorer of the LiTS challenge, slips included."""

    PROJECT = "project"
    LITS = "lits"
