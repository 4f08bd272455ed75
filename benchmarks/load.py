"""Many clients at once, a huge scan beside small ones, hundreds of scans in a row."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from memory import group_mib, read_mib
from published import network_of
from rows import Row

from dyntransnet.client import SegmentationClient
from dyntransnet.errors import ServingError
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.scan import Scan
from dyntransnet.server import TritonServer

CLIENTS = (1, 2, 4, 8)
TIMEOUT_S = 1800.0
WHOLE_EVERY = 10
"""Of the scans of a long run; between them a part of it, so that memory of two sizes is taken."""


@dataclass(frozen=True)
class Case:
    """A scan, and the mask that this process makes of it."""

    scan: Scan
    expected: np.ndarray


@dataclass
class Tally:
    """What came of some scans."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    failed: int = 0

    def ask(self, client: SegmentationClient, case: Case) -> None:
        """Have a scan labeled, and hold the mask against the one of this process."""
        begun = time.perf_counter()
        try:
            found = client.segment(case.scan).mask.labels
        except ServingError as error:
            print(f"soak: {error}", file=sys.stderr)
            self.failed += 1
        else:
            self.seconds.append(time.perf_counter() - begun)
            self.wrong += not np.array_equal(found, case.expected)

    def rows(self, what: str) -> list[Row]:
        """How many masks there were, and how many should not be."""
        return [
            Row(f"{what}: masks", "", [len(self.seconds)], 0),
            Row(f"{what}: masks that are wrong", "0", [self.wrong], 0),
            Row(f"{what}: scans without a mask", "0", [self.failed], 0),
        ]


def cases_of(scan: Scan, repository: Path) -> tuple[Case, Case]:
    """The scan, and the middle half of it along each axis."""
    middle = tuple(slice(edge // 4, edge // 4 + edge // 2) for edge in scan.voxels.shape)
    part = Scan("part", np.asfortranarray(scan.voxels[middle]), scan.affine)
    network = network_of(repository)
    whole, small = (Case(each, answer(each, *network).mask.labels) for each in (scan, part))
    return whole, small


def at_once(url: str, case: Case, rounds: int, each: int) -> list[Row]:
    """Scans a second of several clients over those of one; they take turns in every round."""
    rates: dict[int, list[float]] = {count: [] for count in CLIENTS}
    tallies = {count: Tally() for count in CLIENTS}
    for _ in range(rounds):
        for count in CLIENTS:
            begun = time.perf_counter()
            _crowd(url, case, tallies[count], count, each)
            rates[count].append(count * each / (time.perf_counter() - begun))
    rows = []
    for count, tally in tallies.items():
        share = [rate / one for rate, one in zip(rates[count], rates[1], strict=True)]
        rows.append(Row(f"{count} clients: scans a second over one's", ">= 1", share, 3))
        p99 = float(np.percentile(tally.seconds, 99))
        rows.append(Row(f"{count} clients: p99 of a scan, seconds", "", [p99]))
    together = Tally(
        [one for tally in tallies.values() for one in tally.seconds],
        sum(tally.wrong for tally in tallies.values()),
        sum(tally.failed for tally in tallies.values()),
    )
    return [*rows, *together.rows("clients at once")]


def _crowd(url: str, case: Case, tally: Tally, clients: int, each: int) -> None:
    def work(_: int) -> None:
        with SegmentationClient(url, timeout_s=TIMEOUT_S) as client:
            for _ in range(each):
                tally.ask(client, case)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))


def beside_huge(url: str, whole: Case, small: Case, times: int) -> list[Row]:
    """Seconds of small scans while a huge one is worked on, over those alone."""
    long = Scan("long", np.concatenate([whole.scan.voxels] * times, axis=2), whole.scan.affine)
    alone, beside = Tally(), Tally()
    with (
        SegmentationClient(url, timeout_s=TIMEOUT_S) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        for _ in range(5):
            alone.ask(client, small)
        huge = pool.submit(client.segment, long)
        while not huge.done():
            beside.ask(client, small)
        huge.result()
    share = [one / float(np.median(alone.seconds)) for one in beside.seconds]
    return [Row(f"small scan beside one {times} x as long: seconds over alone", "", share)]


def in_a_row(server: TritonServer, whole: Case, small: Case, scans: int) -> list[Row]:
    """Memory of the server over hundreds of scans, and what it reads meanwhile."""
    tally, taken = Tally(), []
    read = read_mib(server.process.pid)
    with SegmentationClient(server.url, timeout_s=TIMEOUT_S) as client:
        for number in range(scans):
            tally.ask(client, small if number % WHOLE_EVERY else whole)
            taken.append(group_mib(server.process.pid))
    read = read_mib(server.process.pid) - read
    fifth = scans // 5
    early, late = taken[fifth // 2 : fifth], taken[-fifth:]
    grown = [max(late) / max(early), float(np.median(late) / np.median(early))]
    return [
        Row(f"server memory: last {fifth} of {scans} scans over the first", "<= 1.05", grown, 3),
        Row("server memory after each scan, MiB", "", taken, 0),
        Row("MiB that the server reads from files for a scan", "", [read / scans], 3),
        *tally.rows(f"{scans} scans in a row"),
    ]
