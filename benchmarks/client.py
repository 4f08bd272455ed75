"""The client and a server on this machine: import, first mask, wire against memory.

    python benchmarks/client.py data/cases/volume-0/scan.nii.gz --repository model_repository

Starts Triton on the published model. Seconds are wall time; what is compared is taken in turns,
and the same network runs in this process for the ratio.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from published import network_of
from rows import Row, conditions, ratios, write

from dyntransnet.client import SegmentationClient
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.scan import Scan, read_scan
from dyntransnet.server import TritonServer

FRESH = """
import json, sys, time
begun = time.perf_counter()
from pathlib import Path
from dyntransnet.client import SegmentationClient
imported = time.perf_counter()
from dyntransnet.imaging.scan import read_scan
scan = read_scan(Path(sys.argv[2]))
read = time.perf_counter()
with SegmentationClient(sys.argv[1], timeout_s=600.0) as client:
    connected = time.perf_counter()
    client.segment(scan)
    first = time.perf_counter()
    client.segment(scan)
    second = time.perf_counter()
print(json.dumps([imported - begun, connected - read, first - connected, second - first]))
"""


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def fresh(url: str, scan: Path) -> list[float]:
    """Import, connect, first and second mask of a new process."""
    command = [sys.executable, "-c", FRESH, url, str(scan)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@contextmanager
def ways(url: str, scan: Scan, repository: Path) -> Iterator[dict[str, Callable[[], object]]]:
    """The same mask over the wire, through shared memory and in this process."""
    predict, contract = network_of(repository)
    with (
        SegmentationClient(url, timeout_s=600.0) as wire,
        SegmentationClient(url, timeout_s=600.0, shared_memory=True) as memory,
    ):
        yield {
            "wire": lambda: wire.segment(scan),
            "memory": lambda: memory.segment(scan),
            "here": lambda: answer(scan, predict, contract),
        }


def rows_of(url: str, path: Path, asked: argparse.Namespace) -> list[Row]:
    """Everything that is measured."""
    scan = read_scan(path)
    new = list(zip(*(fresh(url, path) for _ in range(asked.rounds)), strict=True))
    with ways(url, scan, asked.repository) as calls:
        for call in calls.values():
            call()
        taken = [{name: seconds(call) for name, call in calls.items()} for _ in range(asked.rounds)]
    by_way = {name: [each[name] for each in taken] for name in taken[0]}
    rows = [
        Row("new process: import, seconds", "< 1", new[0]),
        *(
            Row(f"new process: {what}, seconds", "", values)
            for what, values in zip(("connect", "first mask", "second mask"), new[1:], strict=True)
        ),
    ]
    for name in ("wire", "memory"):
        share = ratios(by_way[name], by_way["here"])
        rows.append(Row(f"served by {name}: seconds over in-process", "<= 1.10", share))
    return rows


def main() -> None:
    """Write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked = parser.parse_args()
    with TritonServer(asked.repository) as server:
        rows = rows_of(server.url, asked.scan, asked)
    shape = read_scan(asked.scan).voxels.shape
    write(asked.out, "client", rows, conditions(scan=shape))


if __name__ == "__main__":
    main()
