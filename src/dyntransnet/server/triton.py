"""Triton on this machine, from the nvidia-pytriton wheel.

It listens on loopback only: the wheel's Triton 2.51 predates the fixes of
CVE-2025-23310, -23311, -23319, -23320 and -23334. To serve other machines, run
the same model repository in a current Triton container (serving/README.md).
"""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from dyntransnet.contract import ONNX_FILE
from dyntransnet.errors import ServingError
from dyntransnet.repository import CONFIG_FILE, FRONT_DOOR, NETWORK, STREAM
from dyntransnet.server.access import OPEN, Access
from dyntransnet.server.stubs import has_lost_a_model
from dyntransnet.server.wheel import BINARY, assemble, check_libpython, environment_of, find_wheel
from dyntransnet.service.versions import read_traffic

LOOPBACK = "127.0.0.1"
SHARED_MEMORY = Path("/dev/shm")
POLL_S = 0.1
READY_TIMEOUT_S = 120.0  # loading a network may mean compiling it
STOP_TIMEOUT_S = 10  # for answers under way
KILL_AFTER_S = STOP_TIMEOUT_S + 5
LOSS_S = 2.0
"""After a model's process was killed: Triton tells its request within that time."""

TROUBLE = re.compile(r'^E\d{4} [^]]*\] "((?!CudaDriverHelper).*?)(?:\\n|"$)', re.MULTILINE)
"""An error in Triton's log, up to its traceback; without a GPU there is one that means nothing."""


class TritonServer:
    """A running Triton; a context manager.

    Args:
        repository: the model repository, its network published.
        grpc_port: 0 chooses a free one, as for the other ports.
        http_port: health checks, and inference over HTTP.
        metrics_port: Prometheus metrics.
        log: where the server's own log is written; None keeps it while it runs.
        timeout_s: until server and models must be ready.
        access: who may do what.
    """

    def __init__(
        self,
        repository: Path,
        *,
        grpc_port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
        log: Path | None = None,
        timeout_s: float = READY_TIMEOUT_S,
        access: Access = OPEN,
    ) -> None:
        self.repository = repository.resolve()
        self.timeout_s = timeout_s
        self.access = access
        self._ports = (grpc_port, http_port, metrics_port)
        self._log = log
        self._cleanup = ExitStack()

    @property
    def models(self) -> list[str]:
        """What is loaded and must be ready."""
        return [name for name in (NETWORK, FRONT_DOOR, STREAM) if (self.repository / name).is_dir()]

    @property
    def url(self) -> str:
        """Where gRPC clients connect, ``127.0.0.1:PORT``."""
        return f"{LOOPBACK}:{self.grpc_port}"

    def __enter__(self) -> "TritonServer":
        """Start, and wait until server and models are ready.

        Raises:
            ServingError: the wheel or the published network is missing, a port is
                taken, or the server ended or was not ready in time.
        """
        wheel = find_wheel()
        check_libpython()
        _check_published(self.repository)
        self.grpc_port, self.http_port, self.metrics_port = _free_ports(self._ports)
        with ExitStack() as cleanup:
            work = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="dyntransnet-")))
            self.log = self._log or work / "triton.log"
            assemble(wheel, work)
            self.process = self._start(work, environment_of(wheel))
            cleanup.callback(_stop, self.process, work.name)
            self._await_ready()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        """Stop the server and everything it started."""
        self._cleanup.close()

    def check(self) -> None:
        """Make sure that the server still runs.

        Raises:
            ServingError: it ended by itself.
        """
        if (code := self.process.poll()) is not None:
            raise ServingError(f"server must keep running, got exit {code}: {self._last_words()}")

    def is_whole(self) -> bool:
        """Whether every model still has its processes; what Triton says of itself does not tell.

        Takes ``LOSS_S`` where they seem to have not.
        """
        if not has_lost_a_model(self.process.pid):
            return True
        time.sleep(LOSS_S)
        return not has_lost_a_model(self.process.pid)

    def _start(self, work: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [
            str(work / BINARY),
            f"--model-repository={self.repository}",
            f"--backend-directory={work / 'backends'}",
            f"--backend-config=python,shm-region-prefix-name={work.name}",
            f"--exit-timeout-secs={STOP_TIMEOUT_S}",
            "--disable-auto-complete-config",
            *self.access.flags(self.models),
        ]
        for service in ("grpc", "http", "metrics"):
            port = getattr(self, f"{service}_port")
            command += [f"--{service}-address={LOOPBACK}", f"--{service}-port={port}"]
        with self.log.open("wb") as stream:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self.timeout_s
        while not all(_is_ready(self.http_port, model) for model in self.models):
            self.check()
            if time.monotonic() > deadline:
                raise ServingError(
                    f"server must be ready within {self.timeout_s:g} s, got {self._last_words()}"
                )
            time.sleep(POLL_S)

    def _last_words(self) -> str:
        """The last error in the log, or else its last line."""
        text = self.log.read_text(errors="replace").strip()
        return (TROUBLE.findall(text) or text.splitlines() or ["an empty log"])[-1]


def _check_published(repository: Path) -> None:
    if not (repository / FRONT_DOOR / CONFIG_FILE).is_file():
        raise ServingError(f"{repository}: must be a model repository, got no {FRONT_DOOR}")
    version = repository / NETWORK / str(read_traffic(repository / NETWORK).version)
    if not (version / ONNX_FILE).is_file():
        raise ServingError(f"{version}: must hold {ONNX_FILE} (run dvc repro first), got none")


def _free_ports(asked: tuple[int, int, int]) -> list[int]:
    """The ports that were asked for, each found free; 0 becomes any free one."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in asked]
        for each, port in zip(sockets, asked, strict=True):
            # A port on which only old connections fade out is free.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                each.bind((LOOPBACK, port))
            except OSError as error:
                raise ServingError(f"port {port} must be free, got {error.strerror}") from error
        return [each.getsockname()[1] for each in sockets]


def _is_ready(port: int, model: str) -> bool:
    with closing(HTTPConnection(LOOPBACK, port, timeout=1)) as connection:
        try:
            connection.request("GET", f"/v2/models/{model}/ready")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def _stop(process: subprocess.Popen[bytes], regions: str) -> None:
    """Ask the server to end, then make sure that it, its children and their memory are gone."""
    try:
        # Without one of its models' processes Triton waits for it in vain.
        if not has_lost_a_model(process.pid):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(KILL_AFTER_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for region in SHARED_MEMORY.glob(f"{regions}*"):
            region.unlink(missing_ok=True)
