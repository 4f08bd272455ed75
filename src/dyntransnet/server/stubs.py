"""Processes of Triton's Python models: Triton does not start one again that was killed.

It goes on calling the model ready, and each request that falls to that process fails.
"""

from pathlib import Path

STUB = "triton_python_b"
"""What the kernel, which keeps 15 letters, calls ``triton_python_backend_stub``."""

ENDED = "Z"
"""State of a process that nobody has asked about since it ended: Triton never asks."""


def has_lost_a_model(server: int) -> bool:
    """Whether a model's process was killed; for some milliseconds also while one is unloaded.

    Args:
        server: Triton's process.
    """
    return any(_is_lost(path, server) for path in Path("/proc").glob("[0-9]*/stat"))


def _is_lost(stat: Path, server: int) -> bool:
    try:
        _, _, after = stat.read_text().partition("(")
    except OSError:  # it is gone altogether
        return False
    name, _, rest = after.rpartition(") ")
    state, parent, *_ = rest.split()
    return name == STUB and state == ENDED and int(parent) == server
