"""A server under load and faults, every mask held against the one that this process makes.

    python benchmarks/soak.py data/cases/volume-0/scan.nii.gz --repository model_repository

Starts Triton on the published model and takes minutes. Ratios are of clients that took turns;
seconds are wall time.
"""

import argparse
import sys
from pathlib import Path

from faults import broken_wires, killed, mutated, on_the_wire
from load import at_once, beside_huge, cases_of, in_a_row
from rows import Row, conditions, write

from dyntransnet.imaging.scan import read_scan
from dyntransnet.server import TritonServer


def rows_of(asked: argparse.Namespace) -> list[Row]:
    """Everything that is measured, the quiet part first."""
    whole, small = cases_of(read_scan(asked.scan), asked.repository)
    with TritonServer(asked.repository) as server:
        rows = [
            *on_the_wire(server, whole),
            *at_once(server.url, whole, asked.rounds, asked.each),
            *beside_huge(server.url, whole, small, asked.huge),
            *in_a_row(server, whole, small, asked.scans),
            *broken_wires(server, small, asked.breaks),
            *mutated(server, asked.repository, small, asked.mutants),
        ]
    return [*rows, *killed(asked.repository, small, asked.kills)]


def main() -> None:
    """Write a table; exit 1 where a mask was wrong or missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", type=int, default=4, help="scans of each client at once")
    parser.add_argument("--huge", type=int, default=4, help="times as long as the scan")
    parser.add_argument("--scans", type=int, default=500, help="in a row")
    parser.add_argument("--breaks", type=int, default=100, help="of connections")
    parser.add_argument("--mutants", type=int, default=10_000, help="requests")
    parser.add_argument("--kills", type=int, default=5, help="of the server")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked = parser.parse_args()
    rows = rows_of(asked)
    shape = read_scan(asked.scan).voxels.shape
    write(asked.out, "soak", rows, conditions(scan=shape))
    if any(row.goal == "0" and any(row.values) for row in rows):
        sys.exit("soak: a mask was wrong or missing")


if __name__ == "__main__":
    main()
