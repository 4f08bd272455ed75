"""Many scans: read ahead, several on their way at once, written behind, none stops the others."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dyntransnet.client.connections import origin_of
from dyntransnet.errors import DynTransNetError, ScanError
from dyntransnet.files import Job, Segmenter, write_results
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import Segmentation
from dyntransnet.ledger import Ledger
from dyntransnet.memory import free_bytes

AHEAD_SHARE = 0.2
"""Of free memory, that a scan may take while another is on its way."""


class State(StrEnum):
    """How a job ended."""

    DONE = "done"
    SKIPPED = "skipped"
    """Its results were there."""

    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: which.
        state: how it ended.
        seconds: since its scan began to be read.
        found: what was written, where it is done.
        error: why it failed.
    """

    job: Job
    state: State
    seconds: float
    found: Segmentation | None = None
    error: DynTransNetError | None = None


@dataclass(frozen=True)
class Records:
    """Where is noted what was made, and by which options.

    Attributes:
        ledger: of the folder of results.
        options: what the report does not say of how a mask was made.
        again: whether to do what is done.
    """

    ledger: Ledger
    options: Mapping[str, str]
    again: bool = False


def records_of(
    jobs: Sequence[Job], output: Path, segmenter: Segmenter, *, again: bool
) -> Records | None:
    """Records of a folder of results; of one mask that was named nothing is kept.

    Args:
        jobs: what goes there.
        output: where the caller wants results.
        segmenter: who makes them.
        again: whether to do what is done.
    """
    if jobs[0].mask == output:
        return None
    ledger = Ledger(output, lambda: segmenter.origin() | segmenter.options)
    return Records(ledger, segmenter.options, again)


def run_jobs(
    jobs: Sequence[Job],
    segment: Callable[[Scan], Segmentation],
    *,
    parallel: int = 1,
    records: Records | None = None,
) -> Iterator[Outcome]:
    """Segment scan files and write what was asked for.

    While scans are segmented, the next one is read and earlier results are written.

    Args:
        jobs: what to read and to write.
        segment: who does it; called from ``parallel`` threads.
        parallel: most scans with it at once.
        records: what was done before; None: nothing.

    Yields:
        Each job as it ends: those that are skipped or cannot be read before others that
        were begun earlier. One that failed leaves no half-written file, and does not keep
        others from being done.
    """
    line = _Line(jobs, segment, parallel, records)
    try:
        yield from line.run()
    except BaseException:  # whoever stops does not wait for what is on its way
        line.stop(waits=False)
        raise
    line.stop(waits=True)


class _Line:
    """Jobs on their way through three stages, each in threads of its own."""

    def __init__(
        self,
        jobs: Sequence[Job],
        segment: Callable[[Scan], Segmentation],
        parallel: int,
        records: Records | None,
    ) -> None:
        self._waiting = deque(jobs)
        self._segment = segment
        self._parallel = parallel
        self._records = records
        self._begun: dict[Path, float] = {}
        self._reading: dict[Future, Job] = {}
        self._read: deque[tuple[Job, Scan]] = deque()
        self._segmenting: dict[Future, tuple[Job, Scan]] = {}
        self._writing: dict[Future, Job] = {}
        self._reader = ThreadPoolExecutor(1, "read")
        self._segmenters = ThreadPoolExecutor(parallel, "segment")
        self._writer = ThreadPoolExecutor(1, "write")

    def run(self) -> Iterator[Outcome]:
        """Move jobs on until all have ended."""
        while self._waiting or self._reading or self._read or self._segmenting or self._writing:
            self._move_on()
            under_way = [*self._writing, *self._segmenting, *self._reading]
            ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for each in (one for one in under_way if one in ended):
                if outcome := self._ended(each):
                    yield outcome

    def stop(self, *, waits: bool) -> None:
        """Begin nothing more; ``waits`` for what is on its way."""
        for pool in (self._reader, self._segmenters, self._writer):
            pool.shutdown(wait=waits, cancel_futures=True)

    def _move_on(self) -> None:
        while self._read and len(self._segmenting) < self._parallel and self._has_room():
            job, scan = self._read.popleft()
            self._segmenting[self._segmenters.submit(self._segment, scan)] = job, scan
        if self._waiting and not self._reading and not self._read and self._may_read():
            job = self._waiting.popleft()
            self._begun[job.mask] = time.monotonic()
            self._reading[self._reader.submit(self._prepared, job)] = job

    def _has_room(self) -> bool:
        """Whether results are written as fast as they come."""
        return len(self._writing) <= self._parallel

    def _may_read(self) -> bool:
        """Whether the next scan leaves room for those that are on their way."""
        if not (self._segmenting or self._writing):
            return True
        try:
            return self._waiting[0].scan_bytes() < AHEAD_SHARE * free_bytes()
        except ScanError:
            return True  # reading it says why

    def _prepared(self, job: Job) -> Scan | None:
        """None where there is nothing to do."""
        records = self._records
        if records and not records.again and records.ledger.is_done(job.source, job.results):
            return None
        return job.read()

    def _ended(self, future: Future) -> Outcome | None:
        """Hand a job to its next stage; an outcome where that was the last."""
        try:
            if future in self._reading:
                job = self._reading.pop(future)
                scan = future.result()
                if scan is None:
                    return self._outcome(job, State.SKIPPED)
                self._read.append((job, scan))
            elif future in self._segmenting:
                job, scan = self._segmenting.pop(future)
                writing = self._writer.submit(self._written, job, scan, future.result())
                self._writing[writing] = job
            else:
                job = self._writing.pop(future)
                return self._outcome(job, State.DONE, found=future.result())
        except DynTransNetError as error:
            return self._outcome(job, State.FAILED, error=error)
        return None

    def _written(self, job: Job, scan: Scan, found: Segmentation) -> Segmentation:
        write_results(job, scan, found)
        if self._records:
            made_by = {**origin_of(found.report), **self._records.options}
            self._records.ledger.note(job.source, job.results, made_by)
        return found

    def _outcome(
        self,
        job: Job,
        state: State,
        *,
        found: Segmentation | None = None,
        error: DynTransNetError | None = None,
    ) -> Outcome:
        seconds = time.monotonic() - self._begun.pop(job.mask)
        return Outcome(job, state, seconds, found, error)
