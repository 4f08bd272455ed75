"""A scan in, its mask and report out, over Triton's gRPC."""

import json
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from dyntransnet import repository as names
from dyntransnet.errors import ServingError
from dyntransnet.imaging.presets import Preset
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.imaging.segment import Segmentation

BACKOFF_S = (0.2, 0.6)
"""Pauses before the second and the third try."""

BUSY = "Exceeds maximum queue size"
"""How Triton says that its queue is full; other refusals share the status code."""

UNREACHED = ("connect", "socket closed", "goaway", "resolv", "resolution")
"""How gRPC says, in lower case, that no server answered."""

CHANNEL = [
    # The default of 4 MiB is less than a scan. -1: no limit but protobuf's 2 GiB.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Scans of patients take no way through a web proxy.
    ("grpc.enable_http_proxy", 0),
    # A retry shall try to connect again, not be told of the last attempt.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]

Answer = TypeVar("Answer")


class SegmentationClient:
    """A connection to a server; a context manager.

    Args:
        url: host and gRPC port, as ``127.0.0.1:8001``.
        timeout_s: budget of each call, with its retries.

    Raises:
        ServingError: tritonclient is not installed.
    """

    def __init__(self, url: str, *, timeout_s: float = 120.0) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._grpc = _tritonclient()
        self._connection = self._grpc.InferenceServerClient(url, channel_args=CHANNEL)

    def __enter__(self) -> "SegmentationClient":
        """Nothing is sent before the first call."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Close the connection."""
        self._connection.close()

    def is_ready(self) -> bool:
        """Whether the server is there and both of its models are ready."""
        deadline = time.monotonic() + self.timeout_s
        try:
            return all(
                self._connection.is_model_ready(model, client_timeout=_left(deadline))
                for model in (names.NETWORK, names.FRONT_DOOR)
            )
        except self._grpc.InferenceServerException:
            return False

    def segment(self, scan: Scan, preset: Preset = Preset.STANDARD) -> Segmentation:
        """Have a scan labeled.

        Full queues and connections that fail are tried up to three times.

        Args:
            scan: int16 voxels travel as they are, at half the size of float32.
            preset: what the mask may cost.

        Raises:
            ServingError: there is no server, it is busy or not ready, it refused the
                scan, or it did not answer in time.
        """
        deadline = time.monotonic() + self.timeout_s
        inputs = self._inputs(scan, preset)
        outputs = [self._grpc.InferRequestedOutput(name) for name in (names.MASK, names.REPORT)]
        answer = self._with_retries(
            lambda timeout_s: self._connection.infer(
                names.FRONT_DOOR, inputs, outputs=outputs, client_timeout=timeout_s
            ),
            scan.id,
            deadline,
        )
        # The wire's buffer is read-only; files and SimpleITK have x run fastest.
        labels = answer.as_numpy(names.MASK).copy(order="F")
        report = json.loads(answer.as_numpy(names.REPORT)[0])
        return Segmentation(Mask(labels, scan.affine), report)

    def _inputs(self, scan: Scan, preset: Preset) -> list[Any]:
        is_int16 = scan.voxels.dtype == np.int16
        tensors = [
            (names.VOXELS, "INT16", scan.voxels)
            if is_int16
            else (names.VOXELS_FLOAT, "FP32", scan.voxels.astype(np.float32, copy=False)),
            (names.AFFINE, "FP64", scan.affine.astype(np.float64, copy=False)),
            (names.CASE, "BYTES", np.array([scan.id.encode()], np.object_)),
            (names.PRESET, "BYTES", np.array([preset.encode()], np.object_)),
        ]
        return [
            self._grpc.InferInput(name, array.shape, kind).set_data_from_numpy(array)
            for name, kind, array in tensors
        ]

    def _with_retries(self, call: Callable[[float], Answer], case: str, deadline: float) -> Answer:
        pauses = list(BACKOFF_S)
        while True:
            try:
                return call(_left(deadline))
            except self._grpc.InferenceServerException as error:
                if not (pauses and _is_passing(error)) or _left(deadline) <= pauses[0]:
                    raise self._explained(error, case) from error
            time.sleep(pauses.pop(0))

    def _explained(self, error: Any, case: str) -> ServingError:
        """What a gRPC status means for a caller."""
        code, said = _code(error), _line(error)
        who = f"{case}: server at {self.url}"
        if code == "DEADLINE_EXCEEDED":
            return ServingError(f"{who} must answer within {self.timeout_s:g} s, got no answer")
        if code == "INVALID_ARGUMENT":
            return ServingError(f"server at {self.url} refused the scan: {said}")
        if _is_unreached(error):
            return ServingError(f"{who} must be reachable, got {said}")
        if BUSY in said:
            return ServingError(f"{who} must have room in its queue, got {said}")
        if code in ("NOT_FOUND", "UNAVAILABLE"):
            return ServingError(f"{who} must have its models ready, got {said}")
        return ServingError(f"{who} must answer, got {code}: {said}")


def _tritonclient() -> ModuleType:
    try:
        import tritonclient.grpc
    except ImportError as error:
        raise ServingError(
            f"tritonclient must be installed (pip install 'dyntransnet[client]'), got {error}"
        ) from error
    module: ModuleType = tritonclient.grpc
    return module


def _left(deadline: float) -> float:
    """Seconds until a deadline; never 0 or less, which gRPC refuses in its own way."""
    return max(deadline - time.monotonic(), 1e-3)


def _code(error: Any) -> str:
    return str(error.status()).removeprefix("StatusCode.")


def _line(error: Any) -> str:
    """The first line of the server's message."""
    return str(error.message()).strip().split("\n")[0]


def _is_unreached(error: Any) -> bool:
    said = str(error.message()).lower()
    return _code(error) == "UNAVAILABLE" and any(sign in said for sign in UNREACHED)


def _is_passing(error: Any) -> bool:
    """Whether trying again may help: the queue was full, or no server answered."""
    return _code(error) == "UNAVAILABLE" and (_is_unreached(error) or BUSY in str(error.message()))
