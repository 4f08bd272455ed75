"""Many cases at a time: in threads, as many as memory holds, or in processes.

Threads where files are known to be sound: they share one copy of the code, nothing is sent
between them, and NumPy, zlib and ITK leave Python's lock while they work on arrays. Processes
where files are looked at for the first time: one that crashes its reader ends in one line.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import accumulate
from multiprocessing import get_context, parent_process
from typing import TypeVar

from threadpoolctl import threadpool_limits

from dyntransnet.errors import WorkerError
from dyntransnet.memory import free_bytes

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_threads(work: Callable[[Item], Found], items: Sequence[Item], workers: int) -> list[Found]:
    """Do one piece of work for each item.

    BLAS stays on one thread: many callers of its own threads would wait for each other, and
    what it computes would hang on how many there are.

    Args:
        work: what is done; the first that raises ends all.
        items: in the order in which they are begun and answered.
        workers: how many at a time.
    """
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))


def in_processes(work: Callable[[Item], Found], items: Sequence[Item], *, who: str) -> list[Found]:
    """The same in one process for each core; none outlives this one, however it ends.

    Args:
        work: can be pickled, as can the items and what is found.
        items: in the order in which they are begun and answered.
        who: the stage, in messages.

    Raises:
        WorkerError: a process was killed.
    """
    done: list[Found] = []
    # Spawned, not forked: forking a process that has threads can hang.
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_follow_parent)
    try:
        with pool:
            for found in pool.map(work, items):
                done.append(found)
    except BrokenProcessPool as error:
        raise WorkerError(
            f"{who}: its processes must live until all {len(items)} cases are done, got one killed "
            f"after {len(done)}: memory ran out, or a file crashes its reader"
        ) from error
    return done


def workers_for(needs: Sequence[int]) -> int:
    """How many jobs run at a time: one more than cores, for one waits for the disk.

    Args:
        needs: bytes of memory that each takes.

    Returns:
        At most as many as fit in what is free, were they the largest; at least one.
    """
    free = free_bytes()
    fitting = sum(taken <= free for taken in accumulate(sorted(needs, reverse=True)))
    return max(1, min(cores() + 1, fitting))


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
    os._exit(1)
