"""What processes take, as Linux tells it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def memory_mib(name: str) -> float:
    """VmRSS or VmHWM: what this process takes, and the most since ``reset_peak``."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def reset_peak() -> None:
    """Forget what this process took before."""
    CLEAR.write_text(RESET_PEAK)


def group_mib(group: int) -> float:
    """What the processes of a group take together; what they share counts once (PSS)."""
    total = 0
    for process in _group(group):
        with suppress(ProcessLookupError):
            (line,) = (
                line
                for line in (process / "smaps_rollup").read_text().splitlines()
                if line.startswith("Pss:")
            )
            total += int(line.split()[1])
    return total / 1024


def read_mib(group: int) -> float:
    """What the processes of a group have read so far, from files and pipes."""
    total = 0
    for process in _group(group):
        total += int((process / "io").read_text().split()[1])
    return total / 2**20


def _group(group: int) -> Iterator[Path]:
    for entry in os.scandir("/proc"):
        with suppress(ProcessLookupError):
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == group:
                yield Path(entry.path)
