"""A server started as the container starts it, with certificates of its own."""

import http.server
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import tritonclient.grpc as triton
from threshold_network import scan_of

from deployed import SERVING
from dyntransnet import repository as names
from dyntransnet.server import triton as module
from dyntransnet.server.wheel import assemble, environment_of, find_wheel

KEY = "not-a-secret-but-long-enough-for-one"
HEADER = {"triton-grpc-protocol-admin-key": KEY}

CERTIFICATES = """
new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $new -days 1 -subj /CN=authority -keyout ca.key -out ca.crt
for name in server client; do
    openssl req $new -subj /CN=localhost -keyout $name.key -out $name.csr
    echo subjectAltName=DNS:localhost | openssl x509 -req -days 1 -in $name.csr \
        -CA ca.crt -CAkey ca.key -CAcreateserial -extfile /dev/stdin -out $name.crt
done
"""
"""An authority, and what it signed for a server and a client."""


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes traces as an OpenTelemetry collector does."""

    def do_POST(self) -> None:
        self.server.taken.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[http.server.ThreadingHTTPServer]:
    """A collector on loopback; ``taken`` has what it was sent."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.taken = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Operated:
    """A running server, as its operator sees it; ``process`` is the container's first."""

    process: subprocess.Popen[bytes]

    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.folder, self.log = folder, folder / "triton.log"
        self.ports = dict(zip(("grpc", "http", "metrics"), ports, strict=True))

    def get(self, path: str, service: str = "http", body: bytes | None = None) -> tuple[int, str]:
        """Status and text of an answer."""
        request = Request(f"http://127.0.0.1:{self.ports[service]}{path}", data=body)
        try:
            with urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as refusal:
            return refusal.code, ""

    def client(self, *, known: bool = True) -> triton.InferenceServerClient:
        """A client over TLS, with or without a certificate of its own."""
        own = {"private_key": "client.key", "certificate_chain": "client.crt"} if known else {}
        files = {"root_certificates": "ca.crt", **own}
        paths = {name: str(self.folder / file) for name, file in files.items()}
        return triton.InferenceServerClient(f"localhost:{self.ports['grpc']}", ssl=True, **paths)

    def segment(self, client: triton.InferenceServerClient) -> np.ndarray:
        """The mask of a small scan."""
        scan = scan_of((40, 30, 20))
        voxels = np.ascontiguousarray(scan.voxels)
        inputs = [
            triton.InferInput(names.VOXELS, voxels.shape, "INT16").set_data_from_numpy(voxels),
            triton.InferInput(names.AFFINE, (4, 4), "FP64").set_data_from_numpy(scan.affine),
        ]
        return client.infer(names.FRONT_DOOR, inputs, client_timeout=20).as_numpy(names.MASK)


@contextmanager
def operating(repository: Path, folder: Path, traces: int) -> Iterator[Operated]:
    """The wheel's Triton through the container's entrypoint, everything turned on."""
    subprocess.run(["sh", "-ec", CERTIFICATES], cwd=folder, check=True, capture_output=True)
    (folder / "admin").write_text(KEY)
    models = shutil.copytree(repository, folder / "models")
    wheel, regions = find_wheel(), f"operated{os.getpid()}"
    assemble(wheel, folder)
    running = Operated(folder, module._free_ports((0, 0, 0)))
    environment = environment_of(wheel) | {
        "MODELS": str(models),
        "GRPC_ADDRESS": "127.0.0.1",
        "METRICS_ADDRESS": "127.0.0.1",
        "EXIT_TIMEOUT_S": "2",
        "ADMIN_KEY_FILE": str(folder / "admin"),
        "TLS_CERT": str(folder / "server.crt"),
        "TLS_KEY": str(folder / "server.key"),
        "TLS_CA": str(folder / "ca.crt"),
        "TRACE_URL": f"http://127.0.0.1:{traces}/v1/traces",
        "TRACE_RATE": "1",
    }
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    command = [
        SERVING / "entrypoint.sh",
        f"--backend-directory={folder}/backends",
        f"--backend-config=python,shm-region-prefix-name={regions}",
        "--trace-config=opentelemetry,bsp_schedule_delay=100",
        *(f"--{service}-port={port}" for service, port in running.ports.items()),
    ]
    with running.log.open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    running.process = process
    try:
        _await_ready(running, process)
        yield running
    finally:
        module._stop(process, regions)


def _await_ready(running: Operated, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if running.get("/v2/health/ready")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(running.log.read_text())
