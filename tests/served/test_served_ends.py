"""A model's process is killed, which Triton does not tell, or Triton is told to stop."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from operated import operating
from stubs import becomes, kill_one, stubs_of, triton_of
from threshold_network import scan_of

from dyntransnet import repository as names
from dyntransnet.client import Policy, SegmentationClient
from dyntransnet.errors import ServingError
from dyntransnet.imaging.segment import segment
from dyntransnet.server import TritonServer
from dyntransnet.server.stubs import has_lost_a_model
from dyntransnet.server.triton import STOP_TIMEOUT_S

pytestmark = pytest.mark.triton

SERVE = """
import sys
from pathlib import Path
from dyntransnet.server import serve
serve(Path(sys.argv[1]), grpc_port=0, http_port=0, metrics_port=0)
"""
PATIENT = Policy(first_pause_s=0.1, open_s=0.5, patience_s=60.0)


@pytest.fixture
def served(repository):
    """``dyntransnet serve`` in a process of its own, and its first line."""
    command = [sys.executable, "-c", SERVE, str(repository)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process, process.stdout.readline()
        process.terminate()
        assert process.wait(20) == 0


def triton_below(process: int) -> int:
    """The server that a process started."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[0])


def test_serve_starts_again_on_its_ports_when_a_front_door_is_killed(served, network):
    process, ready = served
    url = re.sub(r".*grpc_port (\d+),.*\n", r"127.0.0.1:\1", ready)
    small, big = scan_of((40, 30, 20)), scan_of((220, 200, 180))
    with (
        SegmentationClient(url, timeout_s=60.0, policy=PATIENT) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.segment(small)
        triton = triton_below(process.pid)
        answer = pool.submit(client.segment, big)
        time.sleep(0.5)
        for _ in stubs_of(triton, names.FRONT_DOOR):
            kill_one(triton, names.FRONT_DOOR)
        with pytest.raises(ServingError, match=r"blobs0: .* must answer, got INTERNAL: Stub proc"):
            answer.result(20)
        assert "a model's process was killed: starting again" in process.stdout.readline()
        assert process.stdout.readline().split(", log")[0] == ready.split(", log")[0]
        labels = client.segment(small).mask.labels
    np.testing.assert_array_equal(labels, segment(small, *network).labels)


def test_the_container_ends_when_the_network_is_killed(repository, tmp_path):
    with operating(repository, tmp_path, traces=9) as running, running.client() as client:
        triton = triton_of(running.process.pid)
        kill_one(triton, names.NETWORK)
        assert running.get("/v2/health/ready")[0] == 200
        with pytest.raises(Exception, match=r"INTERNAL.* model dyntransnet must answer, got Stub"):
            running.segment(client)
        assert becomes(lambda: running.process.poll() is not None, 8.0)
    assert running.process.returncode == 137
    assert "entrypoint: a model's process was killed: ending" in running.log.read_text()


def test_a_server_whose_model_was_killed_says_so_and_stops_at_once(repository):
    with TritonServer(repository, timeout_s=60.0) as server:
        assert server.is_whole()
        kill_one(server.process.pid, names.STREAM)
        assert becomes(lambda: has_lost_a_model(server.process.pid))
        assert not server.is_whole()
        begun = time.monotonic()
    assert time.monotonic() - begun < STOP_TIMEOUT_S / 2


def test_a_scan_on_a_server_that_is_stopped_goes_to_another(repository, server, network):
    """Triton refuses its models' calls of each other from then on: no scan ends there."""
    big = scan_of((220, 200, 180))
    with (
        TritonServer(repository, timeout_s=60.0) as stopped,
        SegmentationClient([stopped.url, server.url], timeout_s=60.0, policy=PATIENT) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(client.segment, big)
        time.sleep(0.5)
        assert not answer.done()
        stopped.process.terminate()
        found = answer.result(60)
        assert '"error": "NotReadyError"' in stopped.log.read_text()
    np.testing.assert_array_equal(found.mask.labels, segment(big, *network).labels)
