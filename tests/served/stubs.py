"""The processes of a running server's models, to be killed one by one."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def stubs_of(server: int, model: str) -> list[int]:
    """Processes of a model that are children of Triton's process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            script = (stat.parent / "cmdline").read_bytes().split(b"\0")[1:2]
        except OSError:
            continue
        if parent == server and f"/{model}/" in b"".join(script).decode():
            found.append(int(stat.parent.name))
    return sorted(found)


def triton_of(group: int) -> int:
    """The process of Triton among those that were started together."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        name, _, rest = stat.read_text().rpartition(")")
        if name.endswith("(tritonserver") and int(rest.split()[2]) == group:
            return int(stat.parent.name)
    raise LookupError(f"no tritonserver in group {group}")


def kill_one(server: int, model: str) -> None:
    """Kill the first process of a model."""
    os.kill(stubs_of(server, model)[0], signal.SIGKILL)


def becomes(state: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something comes true in time."""
    deadline = time.monotonic() + seconds
    while not state() and time.monotonic() < deadline:
        time.sleep(0.05)
    return state()
