"""What a process takes, as Linux tells it."""

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
