"""What can go wrong on the way: nothing is half a mask, and the next scan is right."""

import asyncio
import os
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import numpy as np
import pytest
from proxy import Proxy
from threshold_network import scan_of

from dyntransnet import repository as names
from dyntransnet.client import AsyncSegmentationClient, Policy, SegmentationClient
from dyntransnet.errors import BusyError, DeadlineError, RefusedError, UnreachableError
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import segment
from dyntransnet.server import TritonServer

pytestmark = pytest.mark.triton

SHAPE = (100, 90, 80)
VOXELS = 100 * 90 * 80
QUICK = Policy(first_pause_s=0.02, open_s=0.3)
STUBBORN = Policy(tries=60, spare_retries=60, longest_pause_s=0.1, failures_to_open=60)


@pytest.fixture(scope="module")
def scan():
    return scan_of(SHAPE)


@pytest.fixture(scope="module")
def expected(network, scan):
    return segment(scan, *network).labels


def asked(client, scan, expected) -> dict:
    """The report of an answer whose mask is right."""
    found = client.segment(scan)
    np.testing.assert_array_equal(found.mask.labels, expected)
    return found.report


def test_a_scan_takes_three_bytes_a_voxel_on_the_wire(server, scan, expected):
    with Proxy(server.grpc_port) as proxy, SegmentationClient(proxy.url) as client:
        report = asked(client, scan, expected)
    both = proxy.passed["up"] + proxy.passed["down"]
    assert len(report["request_id"]) == 32
    assert 3 * VOXELS < both <= 3 * VOXELS + 64_000


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("limit", [{"down_limit": VOXELS // 2}, {"up_limit": VOXELS}])
def test_after_half_a_message_the_scan_is_sent_again(server, scan, expected, limit, reset):
    proxy = Proxy(server.grpc_port, faults=2, reset=reset, **limit)
    with proxy, SegmentationClient(proxy.url, timeout_s=20.0, policy=QUICK) as client:
        asked(client, scan, expected)
    assert proxy.connections == 3


def test_after_half_a_greeting_a_new_connection_is_made(server, scan, expected):
    """gRPC answers from memory for 0.1 s after an attempt to connect: some tries go nowhere."""
    with (
        Proxy(server.grpc_port, faults=2, down_limit=10) as proxy,
        SegmentationClient(proxy.url, timeout_s=20.0, policy=STUBBORN) as client,
    ):
        asked(client, scan, expected)
    assert proxy.connections == 3


def test_a_connection_that_always_breaks_is_told(server, scan):
    proxy = Proxy(server.grpc_port, down_limit=VOXELS // 2)
    with (
        proxy,
        SegmentationClient(proxy.url, timeout_s=10.0, policy=Policy(tries=2)) as client,
        pytest.raises(UnreachableError, match=r"must keep the connection, got .*sent 2 times"),
    ):
        client.segment(scan)


def test_a_connection_that_falls_silent_ends_at_the_deadline(server, scan):
    begun = time.monotonic()
    with (
        Proxy(server.grpc_port, down_limit=VOXELS // 2, silent=True) as proxy,
        SegmentationClient(proxy.url, timeout_s=1.5) as client,
        pytest.raises(DeadlineError, match=r"must answer within 1\.5 s, got no answer"),
    ):
        client.segment(scan)
    assert time.monotonic() - begun < 3


def test_another_server_takes_over(server, scan, expected):
    with (
        Proxy(server.grpc_port, down_limit=VOXELS // 2) as broken,
        SegmentationClient([broken.url, server.url], timeout_s=20.0, policy=QUICK) as client,
    ):
        for _ in range(3):
            asked(client, scan, expected)


def test_servers_take_turns(server):
    small = scan_of((20, 30, 25))
    with (
        Proxy(server.grpc_port) as one,
        Proxy(server.grpc_port) as other,
        SegmentationClient(f"{one.url},{other.url}") as client,
    ):
        told = []
        for _ in range(4):
            client.segment(small, on_progress=told.append)
    assert [each.server for each in told if each.phase == "sending"] == [one.url, other.url] * 2


def test_a_slow_reader_gets_a_whole_mask_and_holds_up_nobody(server, scan, expected):
    with (
        Proxy(server.grpc_port, pause_s=0.05) as slow,
        SegmentationClient(slow.url, timeout_s=30.0) as slow_client,
        SegmentationClient(server.url, timeout_s=30.0) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(asked, slow_client, scan, expected)
        for _ in range(2):
            asked(client, scan, expected)
        assert not waiting.done()
        waiting.result(30)


def test_a_full_queue_is_waited_for_and_told(repository, tmp_path, scan, expected):
    narrow = shutil.copytree(repository, tmp_path / "narrow")
    config = narrow / names.FRONT_DOOR / names.CONFIG_FILE
    text = config.read_text().replace("max_queue_size: 16", "max_queue_size: 1")
    config.write_text(text.replace("KIND_CPU count: 2", "KIND_CPU count: 1"))
    big = scan_of((200, 180, 60))
    with TritonServer(narrow, timeout_s=60.0) as server, ThreadPoolExecutor(6) as pool:

        def ask(one, policy):
            with SegmentationClient(server.url, timeout_s=30.0, policy=policy) as client:
                return client.segment(one).mask.labels

        hasty = [pool.submit(ask, big, Policy(tries=1)) for _ in range(5)]
        patient = pool.submit(ask, scan, replace(STUBBORN, failures_to_open=1))
        wait([*hasty, patient])
    refused = [each.exception() for each in hasty if each.exception()]
    assert 0 < len(refused) < 5
    assert all(isinstance(each, BusyError) for each in refused)
    assert "must have room in its queue, got" in str(refused[0])
    np.testing.assert_array_equal(patient.result(), expected)


def test_a_server_killed_in_mid_scan_is_waited_for(repository, scan, expected):
    policy = Policy(first_pause_s=0.1, open_s=0.5, patience_s=100.0)
    big = scan_of((220, 200, 180))
    with TritonServer(repository, timeout_s=60.0) as first:
        port, group = first.grpc_port, first.process.pid
        with (
            SegmentationClient(first.url, timeout_s=120.0, policy=policy) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            client.segment(scan)
            answer = pool.submit(client.segment, big)  # in one call: no listener, no stream
            time.sleep(0.3)
            assert not answer.done()
            os.killpg(group, signal.SIGKILL)
            first.process.wait(5)
            with TritonServer(repository, grpc_port=port, timeout_s=60.0):
                found = answer.result(120)
                asked(client, scan, expected)
    assert found.mask.labels.shape == big.voxels.shape


def test_a_server_that_ends_is_told_within_the_patience(repository, scan):
    with TritonServer(repository, timeout_s=60.0) as gone:
        client = SegmentationClient(gone.url, timeout_s=60.0, policy=Policy(patience_s=1.0))
        client.segment(scan_of((8, 9, 10)))
    begun = time.monotonic()
    with client, pytest.raises(UnreachableError, match=r"must be reachable, got .*\(request "):
        client.segment(scan)
    assert time.monotonic() - begun < 8


def test_a_refusal_names_its_request_once(server):
    bad = Scan("bad", np.zeros((9, 8, 7), np.int16), np.diag([1.0, 1, 0, 1]))
    with (
        SegmentationClient(server.url) as client,
        pytest.raises(RefusedError, match="refused the scan: bad: affine must be invert") as caught,
    ):
        client.segment(bad, request_id="ward-7")
    assert str(caught.value).count("(request ward-7)") == 1


def test_a_name_that_nobody_has_is_told(scan):
    with (
        SegmentationClient("no-such-host.invalid:8001", timeout_s=10.0) as client,
        pytest.raises(UnreachableError, match="must be reachable, got"),
    ):
        client.segment(scan)


def test_what_is_no_grpc_server_is_told(scan):
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        SegmentationClient(f"127.0.0.1:{mute.getsockname()[1]}", timeout_s=1.0) as client,
        pytest.raises((DeadlineError, UnreachableError), match=r"\(request "),
    ):
        client.segment(scan)


def test_asyncio_gives_the_same_masks_and_errors(server, scan, expected):
    async def ask():
        async with AsyncSegmentationClient(server.url, timeout_s=30.0) as client:
            assert await client.is_ready()
            found = await asyncio.gather(*(client.segment(scan) for _ in range(3)))
            origin = await client.origin()
        async with AsyncSegmentationClient(server.url, timeout_s=0.05) as hasty:
            with pytest.raises(DeadlineError, match=r"must answer within 0\.05 s"):
                await hasty.segment(scan)
        async with AsyncSegmentationClient("127.0.0.1:9", timeout_s=5.0) as nobody:
            assert not await nobody.is_ready()
            with pytest.raises(UnreachableError, match="must be reachable"):
                await nobody.segment(scan)
        return found, origin

    found, origin = asyncio.run(ask())
    assert {key: found[0].report[key] for key in origin} == origin
    for each in found:
        np.testing.assert_array_equal(each.mask.labels, expected)


def test_asyncio_sends_again_what_was_lost(server, scan, expected):
    async def ask(url):
        async with AsyncSegmentationClient(url, timeout_s=20.0, policy=QUICK) as client:
            return await client.segment(scan)

    with Proxy(server.grpc_port, faults=1, down_limit=VOXELS // 2) as proxy:
        found = asyncio.run(ask(proxy.url))
    np.testing.assert_array_equal(found.mask.labels, expected)


def test_a_cancelled_task_cancels_its_call(server, scan, expected):
    async def ask():
        async with AsyncSegmentationClient(server.url, timeout_s=60.0) as client:
            task = asyncio.create_task(client.segment(scan_of((220, 200, 180))))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            begun = time.monotonic()
            return await client.segment(scan), time.monotonic() - begun

    found, seconds = asyncio.run(ask())
    np.testing.assert_array_equal(found.mask.labels, expected)
    assert seconds < 10
