import os
import threading
import time

import numpy as np
import psutil
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from dyntransnet import memory, workers
from dyntransnet.errors import WorkerError
from dyntransnet.memory import free_bytes
from dyntransnet.workers import in_processes, in_threads, workers_for


def blas_threads(_item: object = None) -> list[int]:
    np.ones((2, 3)) @ np.ones((3, 4))
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_threads_work_at_the_same_time_and_answer_in_order():
    meet = threading.Barrier(3, timeout=20)
    assert in_threads(lambda item: (meet.wait(), item * item)[1], [4, 3, 2, 1, 5, 6], 3) == [
        16, 9, 4, 1, 25, 36,
    ]  # fmt: skip


def test_blas_keeps_to_the_thread_it_is_called_on():
    with threadpool_limits(2, "blas"):
        (inside,) = in_threads(blas_threads, ["one"], 1)
        assert set(inside) == {1}
        assert set(blas_threads()) == {2}


def test_the_first_failure_ends_all():
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        time.sleep(0.01)
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        in_threads(fail, range(1000), 1)
    assert len(begun) < 1000


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ([], 1),
        ([40, 10, 30], 3),
        ([70, 10, 40, 20], 1),
        ([10, 60, 20, 40, 5], 2),
        ([300, 1], 1),
        ([1] * 90, 5),
    ],
)
def test_as_many_run_as_cores_and_memory_allow_were_they_the_largest(monkeypatch, needs, expected):
    monkeypatch.setattr(workers, "free_bytes", lambda: 100)
    monkeypatch.setattr(workers, "cores", lambda: 4)
    assert workers_for(needs) == expected


@pytest.mark.parametrize(("limit", "expected"), [("3000\n", 3000 - 1200 + 500), ("1000\n", 300)])
def test_what_a_container_leaves_is_what_is_free(tmp_path, monkeypatch, limit, expected):
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text("1200\n")
    (tmp_path / "memory.stat").write_text("anon 700\ninactive_file 500\nactive_file 90\n")
    assert free_bytes() == expected


@pytest.mark.parametrize("limit", ["max\n", None])
def test_without_a_limit_all_that_the_machine_has_is_free(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    if limit:
        (tmp_path / "memory.max").write_text(limit)
    assert free_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.5)


def test_a_killed_process_ends_in_one_line():
    match = r"^ingest: its processes must live until all 2 cases are done, got one killed after 0: "
    with pytest.raises(WorkerError, match=match) as caught:
        in_processes(os._exit, [1, 1], who="ingest")
    assert "\n" not in str(caught.value)
