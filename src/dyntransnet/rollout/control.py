"""A server that is told what to load, and asked whether it answers rightly."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tritonclient.grpc as triton
from jaxtyping import UInt8

from dyntransnet import repository as names
from dyntransnet.errors import ServingError
from dyntransnet.imaging.scan import Scan
from dyntransnet.server.access import CONTROL_HEADER

TIMEOUT_S = 300.0
"""For each call: loading may mean compiling."""

HEADER = f"triton-grpc-protocol-{CONTROL_HEADER}"

CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
]

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Address:
    """Where a server is, and what it wants to see.

    Attributes:
        url: host and gRPC port.
        control_key: for loading and unloading models.
        ca: whose certificate the server must show; None: plain gRPC.
        cert: this client's certificate, where the server wants one.
        key: of that certificate.
    """

    url: str
    control_key: str | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class Controller:
    """A connection for whoever may change a server; a context manager.

    Args:
        address: of the server.
    """

    def __init__(self, address: Address) -> None:
        self.url = address.url
        self._headers = {HEADER: address.control_key} if address.control_key else {}
        files = (address.ca, address.cert, address.key)
        root, chain, private = (None if path is None else str(path) for path in files)
        try:
            self._connection = triton.InferenceServerClient(
                address.url,
                ssl=root is not None,
                root_certificates=root,
                certificate_chain=chain,
                private_key=private,
                channel_args=CHANNEL,
            )
        except OSError as error:
            raise ServingError(
                f"{error.filename}: must be a PEM file, got {error.strerror}"
            ) from error

    def __enter__(self) -> "Controller":
        """Nothing is sent before the first call."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Close the connection."""
        self._connection.close()

    def load(self, model: str) -> None:
        """Have a model loaded as the repository now says; what it served it serves meanwhile.

        Raises:
            ServingError: the server cannot be reached, does not allow it, or cannot load it.
        """
        self._call(f"load {model}", lambda: self._connection.load_model(model, **self._how))

    def unload(self, model: str) -> None:
        """Have a model unloaded, once its requests are answered.

        Raises:
            ServingError: as for ``load``.
        """
        self._call(f"unload {model}", lambda: self._connection.unload_model(model, **self._how))

    def is_ready(self, model: str, version: int | None = None) -> bool:
        """Whether a model, or one version of it, answers."""
        number = "" if version is None else str(version)
        return bool(
            self._call(
                "say whether it is ready",
                lambda: self._connection.is_model_ready(model, number, client_timeout=TIMEOUT_S),
            )
        )

    def ask(
        self, scan: Scan, version: int | None = None
    ) -> tuple[UInt8[np.ndarray, "x y z"], dict[str, Any]]:
        """Labels and report of a scan.

        Args:
            scan: to be sent.
            version: of the network; None: the one that has the traffic.

        Raises:
            ServingError: the server did not answer.
        """
        is_int16 = scan.voxels.dtype == np.int16
        tensors = [
            (names.VOXELS, "INT16", scan.voxels)
            if is_int16
            else (names.VOXELS_FLOAT, "FP32", scan.voxels),
            (names.AFFINE, "FP64", scan.affine),
            (names.CASE, "BYTES", np.array([scan.id.encode()], np.object_)),
        ]
        if version is not None:
            number = np.array([str(version).encode()], np.object_)
            tensors.append((names.NETWORK_VERSION, "BYTES", number))
        inputs = [
            triton.InferInput(name, array.shape, kind).set_data_from_numpy(array)
            for name, kind, array in tensors
        ]
        outputs = [triton.InferRequestedOutput(name) for name in (names.MASK, names.REPORT)]
        answer = self._call(
            "answer" if version is None else f"answer with version {version}",
            lambda: self._connection.infer(
                names.FRONT_DOOR, inputs, outputs=outputs, client_timeout=TIMEOUT_S
            ),
        )
        return answer.as_numpy(names.MASK), json.loads(answer.as_numpy(names.REPORT)[0])

    @property
    def _how(self) -> dict[str, Any]:
        return {"headers": self._headers, "client_timeout": TIMEOUT_S}

    def _call(self, task: str, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        except triton.InferenceServerException as error:
            said = str(error.message()).strip().split("\n")[0]
            raise ServingError(f"server at {self.url} must {task}, got {said}") from error
