"""Jobs run to their end."""

from collections.abc import Callable, Iterator, Sequence

from dyntransnet import batch
from dyntransnet.files import Job
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import Segmentation


def run_jobs(
    jobs: Sequence[Job], segment: Callable[[Scan], Segmentation]
) -> Iterator[tuple[Job, Segmentation]]:
    """Each with what was found; the first that fails raises."""
    for outcome in batch.run_jobs(jobs, segment):
        if outcome.error:
            raise outcome.error
        yield outcome.job, outcome.found
