"""Shared memory with the real server: the same masks, and nothing left on either side."""

import asyncio
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from proxy import Proxy
from threshold_network import blobs, scan_of

from builders import affine_of
from dyntransnet.client import AsyncSegmentationClient, SegmentationClient, regions
from dyntransnet.errors import DeadlineError
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import segment
from dyntransnet.server import SHARED_MEMORY

pytestmark = pytest.mark.triton

SHAPE = (60, 50, 40)
CLIENT = """
import sys
sys.path.insert(0, sys.argv[2])
from threshold_network import scan_of
from dyntransnet.client import SegmentationClient
SegmentationClient(sys.argv[1], shared_memory=True).segment(scan_of((220, 200, 180)))
"""


def ours(process: int | None = None) -> list[str]:
    """Regions of a client's process; others on this machine have theirs."""
    return [path.name for path in SHARED_MEMORY.glob(f"dyntransnet-{process or os.getpid()}-*")]


def known_to(server) -> list[str]:
    with triton.InferenceServerClient(server.url) as raw:
        return sorted(raw.get_system_shared_memory_status().regions)


def is_clean(server) -> bool:
    return not ours() and not known_to(server)


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_masks_are_the_same_and_nothing_travels(server, network, kind):
    scan = Scan("a", blobs(SHAPE, seed=1).astype(kind), affine_of(SHAPE, (1.9, 1.4, 3.8)))
    with Proxy(server.grpc_port) as proxy:
        with SegmentationClient(proxy.url, shared_memory=True) as client:
            found = client.segment(scan)
        assert proxy.passed["up"] + proxy.passed["down"] < 30_000 < scan.voxels.nbytes
    np.testing.assert_array_equal(found.mask.labels, segment(scan, *network).labels)
    assert is_clean(server)


def test_asyncio_does_the_same(server, network):
    scan = scan_of(SHAPE)

    async def ask():
        async with AsyncSegmentationClient(server.url, shared_memory=True) as client:
            return await asyncio.gather(*(client.segment(scan) for _ in range(3)))

    for found in asyncio.run(ask()):
        np.testing.assert_array_equal(found.mask.labels, segment(scan, *network).labels)
    assert is_clean(server)


def test_what_a_late_server_still_works_on_is_let_go_of_at_the_end(server):
    with SegmentationClient(server.url, timeout_s=0.3, shared_memory=True) as client:
        with pytest.raises(DeadlineError):
            client.segment(scan_of((220, 200, 180)))
        assert ours() == []
    assert is_clean(server)


def test_after_half_an_answer_a_new_region_is_made(server, network):
    scan = scan_of(SHAPE)
    with (
        Proxy(server.grpc_port, faults=1, down_limit=1000) as proxy,
        SegmentationClient(proxy.url, timeout_s=20.0, shared_memory=True) as client,
    ):
        found = client.segment(scan)
    np.testing.assert_array_equal(found.mask.labels, segment(scan, *network).labels)
    assert is_clean(server)


def becomes(state, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not state() and time.monotonic() < deadline:
        time.sleep(0.02)
    return state()


def test_a_client_that_is_killed_leaves_no_memory_behind(server):
    command = [sys.executable, "-c", CLIENT, server.url, str(Path(__file__).parent)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        assert becomes(lambda: bool(ours(process.pid) and known_to(server)))
        process.kill()
    assert becomes(lambda: not ours(process.pid), 5.0)

    def let_go() -> bool:
        """What only the server still holds, once it no longer works on it."""
        failure = triton.InferenceServerException
        with triton.InferenceServerClient(server.url) as raw, suppress(failure):
            raw.unregister_system_shared_memory()
        return not known_to(server)

    assert becomes(let_go)


@pytest.mark.parametrize("free", [0, None])
def test_what_cannot_be_shared_goes_over_the_wire(server, network, monkeypatch, caplog, free):
    """No memory here, or a server that does not see it."""
    if free is None:
        monkeypatch.setattr(regions.Region, "key", property(lambda self: "/elsewhere"))
    else:
        monkeypatch.setattr(regions, "free_bytes", lambda: free)
    scan = scan_of(SHAPE)
    with (
        caplog.at_level(logging.WARNING),
        SegmentationClient(server.url, shared_memory=True) as client,
    ):
        found = [client.segment(scan) for _ in range(2)]
    (line,) = caplog.messages
    assert f"{server.url}: scans go over the wire, not through shared memory" in line
    for each in found:
        np.testing.assert_array_equal(each.mask.labels, segment(scan, *network).labels)
    assert is_clean(server)
