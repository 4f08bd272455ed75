"""A whole scan in, its mask and report out: what both front doors of the server run.

Triton's Python backend gives its module and its requests; all else is here.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dyntransnet import repository as names
from dyntransnet.errors import DynTransNetError, ModelError, NotReadyError, ScanError, ServingError
from dyntransnet.imaging.answer import Stopwatch, answer
from dyntransnet.imaging.presets import tuned
from dyntransnet.imaging.segment import Segmentation
from dyntransnet.imaging.tiling import Watch
from dyntransnet.service.asked import read_request, request_id_of
from dyntransnet.service.budget import Budget, GoneError, LateError
from dyntransnet.service.journal import trace_of, write_entry
from dyntransnet.service.meters import Meters, Outcome
from dyntransnet.service.networks import Network, read_config, read_network
from dyntransnet.service.statuses import STATUSES
from dyntransnet.service.versions import read_traffic

NOT_READY = "Server not ready"
"""How Triton refuses a model's own calls once it was told to stop."""

PROGRESS_EVERY_S = 0.2
"""Between two messages of progress; more would say no more."""

Progress = Callable[[list[Any]], None]
"""Sends tensors ahead of the answer."""


@dataclass
class Record:
    """What is counted and written down of a request."""

    request_id: str = ""
    is_named_here: bool = False
    outcome: Outcome = Outcome.FAILED
    windows: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    clock: Stopwatch = field(default_factory=Stopwatch)


class FrontDoor:
    """Answers requests one at a time.

    Args:
        triton: the module ``triton_python_backend_utils``.
        repository: Triton's model repository.

    Raises:
        ModelError: the version that has the traffic is missing or damaged.
    """

    def __init__(self, triton: Any, repository: Path) -> None:
        self._triton = triton
        self._folder = repository / names.NETWORK
        self._networks: dict[int, Network] = {}
        self._traffic = read_traffic(self._folder)
        self._meters = Meters(triton)
        # Read once: all versions share it, and publish may write the next server's meanwhile.
        self._config = read_config(self._folder)
        self._network(None)

    def respond(self, request: Any, progress: Progress | None = None) -> Any:
        """The response to a request, whatever happens.

        Args:
            request: Triton's.
            progress: sends tensors ahead of it, where the client wants them.
        """
        record, begun = Record(), time.perf_counter()
        try:
            response = self._triton.InferenceResponse(self._answer(request, record, progress))
            record.outcome = Outcome.ANSWERED
        except Exception as error:  # noqa: BLE001  # the server outlives a bug; the log tells of it
            response = self._refusal(error, record, tells_status=progress is not None)
        taken = {"seconds": time.perf_counter() - begun, "phases": record.clock.seconds}
        self._meters.add(
            record.outcome,
            windows=record.windows,
            seconds=record.clock.seconds,
            flags=record.flags,
        )
        known = {"request_id": record.request_id, "outcome": record.outcome, **record.facts}
        write_entry("scan", {**known, "windows": record.windows, "flags": record.flags, **taken})
        return response

    def _answer(self, request: Any, record: Record, progress: Progress | None) -> list[Any]:
        record.request_id = request_id_of(request.request_id())
        record.is_named_here = not request.request_id()
        asked = read_request(
            lambda name: self._values(request, name), queue_timeout_us=request.timeout()
        )
        record.facts |= {"shape": list(asked.scan.voxels.shape), "preset": asked.preset}
        network = self._network(asked.version)
        record.facts["network_version"] = network.version
        wants_map = names.PROBABILITIES in request.requested_output_names()
        budget = Budget(asked.timeout_s, request.is_cancelled)

        def predict(windows: np.ndarray) -> np.ndarray:
            budget.check()
            record.windows += len(windows)
            return self._ask(network, windows)

        found = answer(
            asked.scan,
            *tuned(asked.preset, predict, network.contract),
            fingerprint=network.fingerprint,
            probabilities=wants_map,
            watch=self._watch(progress) if progress else None,
            stopwatch=record.clock,
        )
        record.flags = list(found.report["flags"])
        return self._tensors(found, record, network)

    def _tensors(self, found: Segmentation, record: Record, network: Network) -> list[Any]:
        origin = {
            "request_id": record.request_id,
            "network_version": network.version,
            names.RUNTIME: network.runtime,
            names.PRECISION: network.precision,
        }
        report = json.dumps(found.report | origin).encode()
        arrays = {
            names.MASK: np.ascontiguousarray(found.mask.labels),
            names.REPORT: np.array([report], np.object_),
            names.PROBABILITIES: found.probabilities,
        }
        return [
            self._triton.Tensor(name, array) for name, array in arrays.items() if array is not None
        ]

    def _watch(self, progress: Progress) -> Watch:
        """Tells a client of progress, now and then."""
        told = time.monotonic()

        def watch(done: int, count: int) -> None:
            nonlocal told
            if (now := time.monotonic()) - told >= PROGRESS_EVERY_S or done == count:
                told = now
                values = np.array([done, count], np.int32)
                progress([self._triton.Tensor(names.PROGRESS, values)])

        return watch

    def _network(self, version: int | None) -> Network:
        """The version that was asked for, or the one that has the traffic."""
        try:
            self._traffic = read_traffic(self._folder, self._traffic)
        except ModelError:
            write_entry("traffic", {"outcome": "unreadable", "kept": self._traffic.version})
        number = self._traffic.version if version is None else version
        if number not in self._networks:
            if version not in (None, *self._traffic.kept, self._traffic.last):
                raise ScanError(f"{names.NETWORK_VERSION}: must be a known one, got {version}")
            folder = self._folder / str(number)
            self._networks[number] = read_network(folder, self._config)
        return self._networks[number]

    def _ask(self, network: Network, windows: np.ndarray) -> np.ndarray:
        triton, contract = self._triton, network.contract
        call = triton.InferenceRequest(
            model_name=names.NETWORK,
            model_version=network.version,
            requested_output_names=[contract.output_name],
            inputs=[triton.Tensor(contract.input_name, windows)],
            # A network on a GPU would otherwise leave its answer there.
            preferred_memory=triton.PreferredMemory(triton.TRITONSERVER_MEMORY_CPU),
        )
        response = call.exec()
        if response.has_error():
            cause = response.error().message().splitlines()[0]
            if NOT_READY in cause:
                raise NotReadyError("server is stopping, send the scan again")
            raise ServingError(f"model {names.NETWORK} must answer, got {cause}")
        logits = triton.get_output_tensor_by_name(response, contract.output_name)
        values: np.ndarray = logits.as_numpy()
        return values

    def _values(self, request: Any, name: str) -> np.ndarray | None:
        tensor = self._triton.get_input_tensor_by_name(request, name)
        return None if tensor is None else tensor.as_numpy()

    def _refusal(self, error: Exception, record: Record, *, tells_status: bool) -> Any:
        """What a client is told of an exception, and what is kept of it."""
        said, status = str(error), "INTERNAL"
        record.facts["error"] = type(error).__name__
        if isinstance(error, GoneError | LateError):
            status = "CANCELLED"
            is_late = isinstance(error, LateError)
            record.outcome = Outcome.LATE if is_late else Outcome.CANCELLED
        elif isinstance(error, ScanError):
            record.outcome, status = Outcome.REFUSED, "INVALID_ARGUMENT"
            record.facts["code"] = error.code
        elif isinstance(error, NotReadyError):
            record.outcome, status = Outcome.CANCELLED, "UNAVAILABLE"
        else:
            record.facts["trace"] = trace_of(error)
            if isinstance(error, ServingError | ModelError):  # neither names a case
                record.facts["cause"] = said
            elif not isinstance(error, DynTransNetError):
                said = "internal error, see the server's log"
        if record.is_named_here:  # or else nobody could find it in the log
            said += f" (request {record.request_id})"
        if tells_status:
            said = f"{status}: {said}"
        code = getattr(self._triton.TritonError, STATUSES[status])
        return self._triton.InferenceResponse(error=self._triton.TritonError(said, code))
