"""The log: one JSON object in a line for each scan.

No line holds a case's name, a voxel, a mask or a message: a message may name the case. What a
line says of a scan is its size, and what was noticed.
"""

import json
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

DIGITS = 4


def write_entry(event: str, facts: Mapping[str, Any]) -> None:
    """Write a line to the server's log.

    Args:
        event: what happened.
        facts: what is known of it; floats are rounded.
    """
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    entry = {"time": at, "event": event, **_rounded(facts)}
    # One write for one line: several processes share the log.
    sys.stdout.write(json.dumps(entry, default=str) + "\n")
    sys.stdout.flush()


def trace_of(error: BaseException) -> list[str]:
    """Where an exception came from, without its message."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(value, DIGITS) if isinstance(value, float) else value
