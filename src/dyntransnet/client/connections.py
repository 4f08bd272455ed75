"""What both clients have in common: their servers, options and the start of a call."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import numpy as np

from dyntransnet.client.asking import Ask, Open
from dyntransnet.client.call import Call
from dyntransnet.client.channel import CHANNEL, Tls, addresses_of, headers_of, triton
from dyntransnet.client.core import Core
from dyntransnet.client.faults import FaultError, fault_of
from dyntransnet.client.policy import Policy
from dyntransnet.client.progress import Listener
from dyntransnet.client.regions import Sharing
from dyntransnet.client.talk import Talk, segmentation
from dyntransnet.client.wire import request_of
from dyntransnet.errors import ServingError
from dyntransnet.imaging.presets import Preset
from dyntransnet.imaging.scan import Scan

ORIGIN = ("network", "model_sha256", "runtime", "precision")
"""What a report may say of the model that answered."""

AIR = Scan("nothing", np.full((4, 4, 4), -1000, np.int16), np.diag([3.0, 3.0, 3.0, 1.0]))
"""Asked for the sake of the report: one window, and no voxel of a patient."""


class Connections:
    """To one or several servers, and what calls over them share.

    Args:
        module: of tritonclient, that makes the connections.
        urls: host and gRPC port of each server.
        timeout_s: budget of a call, with all that is waited.
        policy: retries and circuit breakers.
        tls: certificates; None: nothing is encrypted.
        metadata: sent with every call, as ``triton-grpc-protocol-KEY`` for a server that
            restricts its protocols.
        shared_memory: whether to pass voxels through it, to servers on this host.

    Raises:
        ServingError: tritonclient is not installed, or an argument is wrong.
    """

    def __init__(
        self,
        module: str,
        urls: str | Sequence[str],
        *,
        timeout_s: float,
        policy: Policy | None,
        tls: Tls | None,
        metadata: Mapping[str, str] | None,
        shared_memory: bool,
    ) -> None:
        self.urls = addresses_of(urls)
        self.headers = headers_of(metadata)
        self.sharing = Sharing(wanted=shared_memory)
        self.core = Core(self.urls, policy or Policy(), time.monotonic, random.random)
        self.grpc = triton("tritonclient.grpc")
        self.failures = (self.grpc.InferenceServerException, triton("grpc").RpcError)
        self.timeout_s = timeout_s
        options = tls.options() if tls else {}
        connect = triton(module).InferenceServerClient
        try:
            self.by_url = {url: connect(url, channel_args=CHANNEL, **options) for url in self.urls}
        except ValueError as error:
            raise ServingError(f"server must be HOST:PORT, got {error}") from error

    def talk(
        self, scan: Scan, preset: Preset, on_progress: Listener | None, request_id: str | None
    ) -> Talk:
        """Begin a call."""
        request = request_of(scan, preset, request_id or uuid4().hex)
        call = Call(self.core, request.who, request.id, self.timeout_s)
        return segmentation(call, request, self.sharing, self.grpc, on_progress)

    def ask(self, ask: Ask) -> Any:
        """Call what an ``Ask`` names: its answer, or with asyncio what is to be awaited."""
        bound = getattr(self.by_url[ask.url], ask.method)
        return bound(**ask.arguments, headers=self.headers, client_timeout=ask.timeout_s)

    def open(self, step: Open) -> Any:
        """Begin a stream: an iterator, or with asyncio an asynchronous one.

        Not by tritonclient's ``start_stream``: that has one stream for a connection, and leaves
        a thread behind for each that is cancelled. Nor with the header ``triton_grpc_error``,
        which would give errors a status: Triton 2.51 may end with a segmentation fault.
        """
        stub = self.by_url[step.url]._client_stub
        return stub.ModelStreamInfer(
            iter([step.message]), metadata=[*self.headers.items()], timeout=step.timeout_s
        )

    def fault(self, error: Any) -> FaultError:
        """What an error of tritonclient, or of gRPC itself, means."""
        if isinstance(error, self.grpc.InferenceServerException):
            return fault_of(str(error.status()).removeprefix("StatusCode."), str(error.message()))
        return fault_of(error.code().name, str(error.details()))


def origin_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Which model a report is of."""
    return {key: str(report[key]) for key in ORIGIN if key in report}
