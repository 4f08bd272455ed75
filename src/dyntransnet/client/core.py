"""What all calls of a client share: whose turn it is, circuits, and the retries left.

Knows the time and chance that it is given, and nothing of sockets.
"""

from collections.abc import Callable, Sequence
from threading import Lock

from dyntransnet.client.breaker import Circuit, Server
from dyntransnet.client.faults import Fault, FaultError
from dyntransnet.client.policy import Policy

SHORTEST_S = 0.01
"""Wait: what is left of less would be lost in rounding."""


class Core:
    """What all calls of a client share; for several threads.

    Args:
        urls: host and port of each server.
        policy: how patient to be.
        clock: seconds that never run backwards.
        chance: draws from [0, 1).
    """

    def __init__(
        self,
        urls: Sequence[str],
        policy: Policy,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.chance = chance
        self.servers = [Server(url, policy) for url in urls]
        self._lock = Lock()
        self._spare = float(policy.spare_retries)
        self._turn = 0

    def choose(self, avoided: set[str]) -> tuple[Server, bool] | None:
        """The next server in turn that may be asked, and whether only if it is ready.

        One whose circuit is half-open comes first: it would never be used again while
        others are well.
        """
        with self._lock:
            now = self.clock()
            order = [*self.servers[self._turn :], *self.servers[: self._turn]]
            order = [server for server in order if server.url not in avoided]
            for kind in (Circuit.HALF_OPEN, Circuit.CLOSED):
                for server in order:
                    if server.circuit(now) is kind:
                        if kind is Circuit.HALF_OPEN:
                            server.probed_by(now)
                        else:
                            self._turn = (self.servers.index(server) + 1) % len(self.servers)
                        return server, kind is Circuit.HALF_OPEN
            return None

    def may_retry(self) -> bool:
        """Take one of the retries that all calls share."""
        with self._lock:
            if self._spare < 1:
                return False
            self._spare -= 1
            return True

    def answered(self, url: str) -> None:
        """A server answered a request."""
        with self._lock:
            self._server(url).answered()
            earned = self._spare + self.policy.earned_retries
            self._spare = min(earned, float(self.policy.spare_retries))

    def observed(self, url: str, error: FaultError | None) -> None:
        """A server showed that it is well, or how it is not."""
        with self._lock:
            if error is None or error.fault.rule.harms is False:
                self._server(url).answered()
            elif error.fault.rule.harms:
                leaves = error.fault is Fault.STOPPING
                was_there = leaves or error.fault in (Fault.LOST, Fault.NOT_READY)
                self._server(url).failed(
                    self.clock(), error.said, was_there=was_there, leaves=leaves
                )

    def wait_s(self, avoided: set[str]) -> float | None:
        """Until a server may be asked that is worth waiting for; None where none is."""
        with self._lock:
            now = self.clock()
            waits = [
                0.0 if server.open_until is None else max(server.open_until - now, SHORTEST_S)
                for server in self.servers
                if server.url not in avoided
                if server.open_until is None or server.is_awaited(now)
            ]
            return min(waits, default=None)

    def down(self) -> str:
        """Who does not answer, and since when it is not asked any more."""
        with self._lock:
            now = self.clock()
            lines = [
                f"{server.url}: {server.said}, asked again in {server.open_until - now:.1f} s"
                for server in self.servers
                if server.open_until is not None
            ]
            return "; ".join(lines)

    def _server(self, url: str) -> Server:
        return next(server for server in self.servers if server.url == url)
