"""Windows told over the real wire, and everything that may happen to a stream on its way."""

import asyncio
import os
import shutil
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from proxy import Proxy
from raw import entries
from threshold_network import blobs, scan_of

from dyntransnet import repository as names
from dyntransnet.client import AsyncSegmentationClient, Phase, Policy, SegmentationClient
from dyntransnet.errors import BusyError, DeadlineError, RefusedError
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import segment
from dyntransnet.server import TritonServer

pytestmark = pytest.mark.triton

SHAPE = (100, 90, 80)
VOXELS = 100 * 90 * 80
QUICK = Policy(first_pause_s=0.02, open_s=0.3, failures_to_open=9)
MANY = np.tile(blobs((44, 40, 36), seed=1), (5, 5, 5))
HUGE = Scan("huge", MANY, np.diag([4.0, 3.5, 5.0, 1.0]))
"""Seconds of work, however fast the machine."""

WINDOWS = 4536
BAD = Scan("bad", np.zeros((9, 8, 7), np.int16), np.diag([1.0, 1, 0, 1]))


@pytest.fixture(scope="module")
def scan():
    return scan_of(SHAPE)


@pytest.fixture(scope="module")
def expected(network, scan):
    return segment(scan, *network).labels


@pytest.fixture(params=["blocking", "asyncio"])
def ask(request):
    """One call with a listener: what was told, and what came of it."""

    def blocking(url, scan, listen, **options):
        request_id = options.pop("request_id", None)
        with SegmentationClient(url, **options) as client:
            return client.segment(scan, on_progress=listen, request_id=request_id)

    async def awaited(url, scan, listen, **options):
        request_id = options.pop("request_id", None)
        async with AsyncSegmentationClient(url, **options) as client:
            return await client.segment(scan, on_progress=listen, request_id=request_id)

    def asked(url, scan, listen=lambda step: None, **options):
        if request.param == "blocking":
            return blocking(url, scan, listen, **options)
        return asyncio.run(awaited(url, scan, listen, **options))

    return asked


def told_windows(told) -> list[tuple[int, int]]:
    return [(each.done, each.total) for each in told if each.phase is Phase.WORKING]


def ended(server, request_id: str, seconds: float = 10.0) -> dict:
    """What the server's log says of a request, once that has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for entry in entries(server):
            if entry.get("request_id") == request_id:
                return entry
        time.sleep(0.02)
    return {}


def test_windows_are_told_and_the_mask_is_that_of_a_call_that_tells_nothing(
    server, scan, expected, ask
):
    told = []
    found = ask(server.url, scan, told.append, request_id="told-1")
    np.testing.assert_array_equal(found.mask.labels, expected)
    assert found.report["request_id"] == "told-1"
    assert [told[0].phase, told[-1].phase] == [Phase.SENDING, Phase.DONE]
    counts = told_windows(told)
    assert counts == sorted(counts)
    assert counts[-1][0] == counts[-1][1] > 10
    assert {each.server for each in told} == {server.url}


def test_a_call_with_a_listener_takes_hardly_more_of_the_wire(server, scan, ask):
    with Proxy(server.grpc_port) as proxy:
        ask(proxy.url, scan)
    assert 3 * VOXELS < proxy.passed["up"] + proxy.passed["down"] <= 3 * VOXELS + 64_000


@pytest.mark.parametrize("limit", [{"down_limit": VOXELS // 2}, {"up_limit": VOXELS}])
def test_a_stream_that_breaks_is_begun_again(server, scan, expected, ask, limit):
    told = []
    with Proxy(server.grpc_port, faults=2, **limit) as proxy:
        found = ask(proxy.url, scan, told.append, timeout_s=20.0, policy=QUICK)
    np.testing.assert_array_equal(found.mask.labels, expected)
    assert proxy.connections == told[-1].tries == 3


def test_a_stream_that_falls_silent_ends_at_the_deadline(server, scan, ask):
    begun = time.monotonic()
    with (
        Proxy(server.grpc_port, down_limit=VOXELS // 2, silent=True) as proxy,
        pytest.raises(DeadlineError, match=r"must answer within 1 s, got no answer"),
    ):
        ask(proxy.url, scan, timeout_s=1.0)
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("tells", [True, False])
def test_at_the_deadline_the_work_in_the_model_ends_too(server, scan, expected, ask, tells):
    name, told = uuid.uuid4().hex, []
    listen = told.append if tells else None
    with pytest.raises(DeadlineError, match=r"must answer within 0\.7 s, got no answer"):
        ask(server.url, HUGE, listen, timeout_s=0.7, request_id=name)
    assert ended(server, name)["outcome"] in ("late", "cancelled")
    assert ended(server, name)["windows"] < WINDOWS
    assert {each.total for each in told if each.total} <= {WINDOWS}
    np.testing.assert_array_equal(ask(server.url, scan).mask.labels, expected)


def test_the_server_refuses_in_the_same_words(server, ask):
    said = []
    for listen in (None, lambda step: None):
        with pytest.raises(RefusedError, match=r"refused the scan: bad: affine must") as caught:
            ask(server.url, BAD, listen, request_id="ward-7")
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert said[1].count("(request ward-7)") == 1


def test_many_refusals_leave_the_server_as_it_was(server, scan, expected):
    with SegmentationClient(server.url) as client:
        for _ in range(40):
            with pytest.raises(RefusedError, match="affine must be invertible"):
                client.segment(BAD, on_progress=lambda step: None)
        found = client.segment(scan, on_progress=lambda step: None)
    np.testing.assert_array_equal(found.mask.labels, expected)


def test_several_threads_share_one_client(server, scan, expected):
    with SegmentationClient(server.url) as client, ThreadPoolExecutor(4) as pool:
        told = [[] for _ in range(4)]
        ways = [told[0].append, told[1].append, told[2].append, told[3].append]
        found = pool.map(lambda listen: client.segment(scan, on_progress=listen), ways)
        for each in found:
            np.testing.assert_array_equal(each.mask.labels, expected)
    assert [len({step.request_id for step in steps}) for steps in told] == [1] * 4
    assert all(told_windows(steps)[-1][0] > 10 for steps in told)


def test_threads_do_not_pile_up(server):
    before = threading.active_count()
    with SegmentationClient(server.url, timeout_s=0.2, policy=QUICK) as client:
        for _ in range(4):
            with pytest.raises(DeadlineError):
                client.segment(HUGE, on_progress=lambda step: None)
    deadline = time.monotonic() + 5
    while threading.active_count() > before + 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before + 1  # gRPC keeps one of its own


def test_a_cancelled_task_ends_the_work(server, scan, expected):
    async def run():
        async with AsyncSegmentationClient(server.url, timeout_s=60.0) as client:
            works = asyncio.Event()
            task = asyncio.create_task(
                client.segment(
                    HUGE,
                    on_progress=lambda step: step.total and works.set(),
                    request_id="cancelled-1",
                )
            )
            await asyncio.wait_for(works.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await client.segment(scan, on_progress=lambda step: None)

    np.testing.assert_array_equal(asyncio.run(run()).mask.labels, expected)
    assert ended(server, "cancelled-1")["outcome"] == "cancelled"


def test_a_listener_that_fails_ends_the_work(server, ask):
    def listen(step):
        if step.phase is Phase.WORKING:
            raise KeyError("mine")

    name = uuid.uuid4().hex
    with pytest.raises(KeyError, match="mine"):
        ask(server.url, HUGE, listen, request_id=name)
    assert ended(server, name)["outcome"] == "cancelled"


def test_shared_memory_serves_a_stream_as_well(server, scan, expected, ask):
    told = []
    with Proxy(server.grpc_port) as proxy:
        found = ask(proxy.url, scan, told.append, shared_memory=True)
        assert proxy.passed["up"] + proxy.passed["down"] < 30_000 < scan.voxels.nbytes
    np.testing.assert_array_equal(found.mask.labels, expected)
    assert told_windows(told)[-1][0] > 10


def test_a_full_queue_of_the_stream_is_told(repository, tmp_path):
    narrow = shutil.copytree(repository, tmp_path / "narrow")
    config = narrow / names.STREAM / names.CONFIG_FILE
    text = config.read_text().replace("max_queue_size: 16", "max_queue_size: 1")
    config.write_text(text.replace("KIND_CPU count: 2", "KIND_CPU count: 1"))
    with TritonServer(narrow, timeout_s=60.0) as server, ThreadPoolExecutor(6) as pool:

        def ask(_):
            with SegmentationClient(server.url, timeout_s=2.0, policy=Policy(tries=1)) as client:
                return client.segment(HUGE, on_progress=lambda step: None)

        ways = [pool.submit(ask, n) for n in range(5)]
        errors = [each.exception() for each in ways]
    refused = [each for each in errors if isinstance(each, BusyError)]
    assert 0 < len(refused) < 5
    assert "must have room in its queue, got" in str(refused[0])


def test_a_server_killed_in_mid_stream_is_waited_for(repository, scan, expected):
    policy = Policy(first_pause_s=0.1, open_s=0.5, patience_s=100.0)
    large = replace(scan_of((120, 110, 100)), affine=np.diag([5.0, 5.5, 6.0, 1.0]))
    with TritonServer(repository, timeout_s=60.0) as first:
        port, group = first.grpc_port, first.process.pid
        with (
            SegmentationClient(first.url, timeout_s=120.0, policy=policy) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            told, works = [], threading.Event()

            def listen(step):
                told.append(step)
                if step.phase is Phase.WORKING:
                    works.set()

            answer = pool.submit(client.segment, large, on_progress=listen)
            assert works.wait(20)
            os.killpg(group, signal.SIGKILL)
            first.process.wait(5)
            with TritonServer(repository, grpc_port=port, timeout_s=60.0):
                found = answer.result(120)
                again = client.segment(scan, on_progress=listen)
    np.testing.assert_array_equal(again.mask.labels, expected)
    assert found.mask.labels.shape == large.voxels.shape
    assert len({each.tries for each in told if each.phase is Phase.WORKING}) > 1
