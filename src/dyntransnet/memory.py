"""How much memory is left."""

from pathlib import Path

import psutil

GROUP = Path("/sys/fs/cgroup")
"""Where Linux keeps what a container may take."""


def free_bytes() -> int:
    """Memory that can still be taken, of the machine and of the container this runs in."""
    return min([psutil.virtual_memory().available, *_left_in_container()])


def _left_in_container() -> list[int]:
    """What its limit leaves, where it has one; files that are only cached can be dropped."""
    try:
        limit = int((GROUP / "memory.max").read_text())
        taken = int((GROUP / "memory.current").read_text())
        lines = (GROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no container, or "max"
        return []
    cached = dict(line.split() for line in lines)["inactive_file"]
    return [max(0, limit - taken + int(cached))]
