"""The client that blocks."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from dyntransnet.client.asking import Ask, Open, Part, Read
from dyntransnet.client.call import Pause
from dyntransnet.client.channel import Tls
from dyntransnet.client.connections import AIR, Connections, origin_of
from dyntransnet.client.faults import FaultError
from dyntransnet.client.policy import Policy
from dyntransnet.client.progress import Listener
from dyntransnet.client.talk import farewell, readiness
from dyntransnet.imaging.presets import Preset
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import Segmentation


class SegmentationClient:
    """Connections to one or several servers; a context manager, for any number of threads.

    Args:
        url: host and gRPC port, as ``127.0.0.1:8001``; of several servers, a sequence or
            one string with commas: they are asked in turn, and stand in for each other.
        timeout_s: budget of each call, with its retries and all that is waited.
        policy: retries and circuit breakers.
        tls: certificates; None: nothing is encrypted.
        metadata: sent with every call; for a server that restricts its protocols,
            ``triton-grpc-protocol-KEY`` and its value.
        shared_memory: pass voxels and masks through memory to servers on this host; where
            that cannot be done, a line in the log says so, and they go over the wire.

    Raises:
        ServingError: tritonclient is not installed, or an argument is wrong.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        timeout_s: float = 120.0,
        policy: Policy | None = None,
        tls: Tls | None = None,
        metadata: Mapping[str, str] | None = None,
        shared_memory: bool = False,
    ) -> None:
        self._servers = Connections(
            "tritonclient.grpc",
            url,
            timeout_s=timeout_s,
            policy=policy,
            tls=tls,
            metadata=metadata,
            shared_memory=shared_memory,
        )

    def __enter__(self) -> "SegmentationClient":
        """Nothing is sent before the first call."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Close the connections; calls that other threads still make end."""
        for url, connection in self._servers.by_url.items():
            self._run(farewell(url, self._servers.sharing))
            connection.close()

    def is_ready(self) -> bool:
        """Whether a server is there with both of its models ready."""
        deadline = time.monotonic() + self._servers.timeout_s
        for url in self._servers.urls:
            with suppress(FaultError):
                self._run(readiness(url, max(deadline - time.monotonic(), 1e-3)))
                return True
        return False

    def origin(self) -> dict[str, str]:
        """Which model answers, and what runs it, as reports say it.

        ``network``, ``model_sha256``, ``runtime``, ``precision``.

        A few voxels of air are sent for it.

        Raises:
            ServingError: as ``segment``.
        """
        return origin_of(self.segment(AIR, Preset.FAST).report)

    def segment(
        self,
        scan: Scan,
        preset: Preset = Preset.STANDARD,
        *,
        on_progress: Listener | None = None,
        request_id: str | None = None,
    ) -> Segmentation:
        """Have a scan labeled.

        Tried again, within ``timeout_s`` and what the policy allows, are servers that
        cannot be reached, full queues and connections that break.

        Args:
            scan: int16 voxels travel as they are, at half the size of float32.
            preset: what the mask may cost.
            on_progress: told of each step and, over a stream, of windows done at the server;
                in the calling thread. Voxels and mask go through shared memory all the same.
            request_id: what the server and messages call this request; None: a random one.

        Returns:
            The mask on the scan's grid; the report has ``request_id`` in it.

        Raises:
            UnreachableError: no server is there, or connections to it break.
            BusyError: its queue stays full.
            NotReadyError: it has no models.
            DeadlineError: no answer within ``timeout_s``.
            RefusedError: the scan is not taken, by the server or for its size.
            ServingError: the server failed, or its answer cannot be used.
        """
        return self._run(self._servers.talk(scan, preset, on_progress, request_id))

    def _run(self, talk: Part) -> Any:
        """Carry a talk: ask and wait, and tell it what came of that."""
        answer: Any = None
        fault: FaultError | None = None
        try:
            while True:
                step = talk.throw(fault) if fault else talk.send(answer)
                answer = fault = None
                try:
                    answer = self._done(step)
                except self._servers.failures as error:
                    fault = self._servers.fault(error)
        except StopIteration as end:
            return end.value
        finally:
            talk.close()

    def _done(self, step: Ask | Open | Read | Pause) -> Any:
        """What came of one step."""
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Open):
            return self._servers.open(step)
        if isinstance(step, Read):
            return next(step.stream, None)
        return self._servers.ask(step)
