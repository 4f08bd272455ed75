"""Requests as no client of ours would send them, and what they come back with."""

import json
import threading
from urllib.request import urlopen

import numpy as np
import tritonclient.grpc as triton

from dyntransnet import repository as names
from dyntransnet.imaging.scan import Scan
from dyntransnet.server import TritonServer


def inputs_of(scan: Scan, **more: object) -> list[triton.InferInput]:
    """A scan's tensors, and others by name: strings, or floats."""
    tensors = [(names.VOXELS, "INT16", scan.voxels), (names.AFFINE, "FP64", scan.affine)]
    for name, value in more.items():
        is_text = isinstance(value, str)
        array = np.array([value.encode()], np.object_) if is_text else np.array([value])
        tensors.append((name, "BYTES" if is_text else "FP64", array))
    return [
        triton.InferInput(name, array.shape, kind).set_data_from_numpy(array)
        for name, kind, array in tensors
    ]


def ask(
    server: TritonServer,
    scan: Scan,
    *outputs: str,
    request_id: str = "",
    timeout_us: int | None = None,
    **more: object,
):
    """What the front door answers."""
    wanted = [triton.InferRequestedOutput(name) for name in outputs or (names.MASK, names.REPORT)]
    with triton.InferenceServerClient(server.url) as raw:
        return raw.infer(
            names.FRONT_DOOR,
            inputs_of(scan, **more),
            outputs=wanted,
            request_id=request_id,
            timeout=timeout_us,
            client_timeout=30,
        )


def ask_stream(server: TritonServer, scan: Scan) -> list[triton.InferResult]:
    """Everything that the stream answers, in order."""
    answers: list[triton.InferResult] = []
    ended = threading.Event()

    def take(result: triton.InferResult, error: Exception | None) -> None:
        answers.append(error or result)
        if error or result.get_response().parameters["triton_final_response"].bool_param:
            ended.set()

    wanted = [
        triton.InferRequestedOutput(name) for name in (names.PROGRESS, names.MASK, names.REPORT)
    ]
    with triton.InferenceServerClient(server.url) as raw:
        raw.start_stream(take)
        raw.async_stream_infer(names.STREAM, inputs_of(scan), outputs=wanted, request_id="s-1")
        assert ended.wait(30)
        raw.stop_stream()
    return answers


def entries(server: TritonServer) -> list[dict]:
    """The lines of the server's log that are ours."""
    lines = server.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def counters(server: TritonServer) -> dict[str, float]:
    """Our own metrics."""
    with urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("dyntransnet_"))
    return {name: float(value) for name, value in pairs}
