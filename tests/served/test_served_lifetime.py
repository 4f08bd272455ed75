"""Starting and stopping: nothing is left behind, and every failure has a reason."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dyntransnet import repository as names
from dyntransnet.client import SegmentationClient
from dyntransnet.errors import ServingError
from dyntransnet.server import SHARED_MEMORY, TritonServer
from dyntransnet.server import wheel as module

pytestmark = pytest.mark.triton

SERVE = """
import sys
from pathlib import Path
from dyntransnet.server import serve
serve(Path(sys.argv[1]), grpc_port=0, http_port=0, metrics_port=0)
"""


def living_in(group: int) -> list[str]:
    """Processes of a group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of_group) == group and state not in "ZX":
            found.append(stat.parent.name)
    return found


def is_empty_soon(group: int) -> bool:
    deadline = time.monotonic() + 2
    while living_in(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not living_in(group)


def regions_of(server: TritonServer) -> list[Path]:
    """Its shared memory, which has the name of its work folder."""
    return list(SHARED_MEMORY.glob(f"{server.log.parent.name}*"))


@pytest.fixture
def copy(repository, tmp_path):
    return shutil.copytree(repository, tmp_path / "copy")


def test_stopped_server_leaves_nothing(repository):
    with TritonServer(repository, timeout_s=60.0) as server:
        group = server.process.pid
        assert len(living_in(group)) == 6  # Triton, the network, and each front door twice
        assert len(regions_of(server)) == 5
    assert is_empty_soon(group)
    assert not regions_of(server)
    assert not server.log.exists()
    with SegmentationClient(server.url, timeout_s=5.0) as client:
        assert not client.is_ready()


def test_killed_server_is_noticed_and_leaves_nothing(repository):
    with TritonServer(repository, timeout_s=60.0) as server:
        group = server.process.pid
        os.kill(group, signal.SIGKILL)
        server.process.wait(5)
        with pytest.raises(ServingError, match="must keep running, got exit -9"):
            server.check()
    assert is_empty_soon(group)
    assert not regions_of(server)


def test_serve_runs_until_it_is_told_to_stop(repository):
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(repository)], stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        assert line.startswith("ready on 127.0.0.1: grpc_port ")
        log = Path(line.rpartition(" log ")[2].strip())
        assert log.is_file()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not log.exists()


def test_missing_network_says_what_to_run(copy):
    (copy / names.NETWORK / names.VERSION / "model.onnx").unlink()
    with pytest.raises(ServingError, match=r"must hold model.onnx \(run dvc repro first\)"):
        TritonServer(copy).__enter__()


def test_other_folder_is_no_repository(tmp_path):
    with pytest.raises(ServingError, match="must be a model repository, got no"):
        TritonServer(tmp_path).__enter__()


def test_damaged_network_is_named(copy, tmp_path):
    with (copy / names.NETWORK / names.VERSION / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    log = tmp_path / "triton.log"
    with pytest.raises(ServingError, match=r"ModelError: .*model.onnx: sha256 must be \w+, got"):
        TritonServer(copy, log=log).__enter__()
    assert "failed to load 'dyntransnet'" in log.read_text()


def test_taken_port_is_named(repository):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port} must be free, got Address already"):
            TritonServer(repository, http_port=port).__enter__()


def test_slow_start_ends_in_time(repository):
    with pytest.raises(ServingError, match=r"must be ready within 0\.01 s, got"):
        TritonServer(repository, timeout_s=0.01).__enter__()


def test_missing_wheel_names_the_extra(repository, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(ServingError, match=r"pip install 'dyntransnet\[server\]'"):
        TritonServer(repository).__enter__()


def test_missing_libpython_names_the_package(repository, monkeypatch):
    monkeypatch.setattr(module, "find_library", lambda name: None)
    monkeypatch.setattr(module.sysconfig, "get_config_var", lambda name: "/nowhere")
    with pytest.raises(ServingError, match=r"^libpython3\.\d+\.so\.1\.0 must be installed"):
        TritonServer(repository).__enter__()
