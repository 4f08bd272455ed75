"""The client for asyncio."""

import asyncio
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


class AsyncSegmentationClient:
    """As ``SegmentationClient``, for one event loop; an asynchronous context manager.

    Made inside the loop that it is used in. Arrays are copied in that loop: some tenths of
    a second for a scan of 500 slices.

    Args:
        url: as there, and so are the others.
        timeout_s: budget of each call.
        policy: retries and circuit breakers.
        tls: certificates.
        metadata: sent with every call.
        shared_memory: pass voxels and masks through memory to servers on this host.

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
            "tritonclient.grpc.aio",
            url,
            timeout_s=timeout_s,
            policy=policy,
            tls=tls,
            metadata=metadata,
            shared_memory=shared_memory,
        )

    async def __aenter__(self) -> "AsyncSegmentationClient":
        """Nothing is sent before the first call."""
        return self

    async def __aexit__(self, *failure: object) -> None:
        """Close the connections; calls that other tasks still make end."""
        for url, connection in self._servers.by_url.items():
            await self._run(farewell(url, self._servers.sharing))
            await connection.close()

    async def is_ready(self) -> bool:
        """Whether a server is there with both of its models ready."""
        deadline = time.monotonic() + self._servers.timeout_s
        for url in self._servers.urls:
            with suppress(FaultError):
                await self._run(readiness(url, max(deadline - time.monotonic(), 1e-3)))
                return True
        return False

    async def origin(self) -> dict[str, str]:
        """Which model answers, and what runs it, as reports say it.

        ``network``, ``model_sha256``, ``runtime``, ``precision``.

        A few voxels of air are sent for it.

        Raises:
            ServingError: as ``segment``.
        """
        return origin_of((await self.segment(AIR, Preset.FAST)).report)

    async def segment(
        self,
        scan: Scan,
        preset: Preset = Preset.STANDARD,
        *,
        on_progress: Listener | None = None,
        request_id: str | None = None,
    ) -> Segmentation:
        """Have a scan labeled.

        Args:
            scan: as for ``SegmentationClient.segment``, and so are the others.
            preset: what the mask may cost.
            on_progress: told of each step and of windows, in the event loop.
            request_id: what the server and messages call this request; None: a random one.

        Raises:
            ServingError: as there. A task that is cancelled cancels the work, too.
        """
        return await self._run(self._servers.talk(scan, preset, on_progress, request_id))

    async def _run(self, talk: Part) -> Any:
        """Carry a talk: ask and wait, and tell it what came of that."""
        answer: Any = None
        fault: FaultError | None = None
        try:
            while True:
                step = talk.throw(fault) if fault else talk.send(answer)
                answer = fault = None
                try:
                    answer = await self._done(step)
                except self._servers.failures as error:
                    fault = self._servers.fault(error)
        except StopIteration as end:
            return end.value
        finally:
            talk.close()

    async def _done(self, step: Ask | Open | Read | Pause) -> Any:
        """What came of one step."""
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Open):
            return self._servers.open(step)
        if isinstance(step, Read):
            return await anext(aiter(step.stream), None)
        return await self._servers.ask(step)
