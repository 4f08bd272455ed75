"""Which servers a client may ask: each has a circuit that failures open."""

from dataclasses import dataclass, field
from enum import Enum

from dyntransnet.client.policy import Policy


class Circuit(Enum):
    """Whether a server may be asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    """It shall be asked whether it is ready, by one call."""


@dataclass
class Server:
    """What is known of a server.

    Attributes:
        url: host and port.
        policy: when its circuit opens, and for how long.
        failures: in a row.
        said: what the last of them was.
        open_until: when it may be asked again; None while its circuit is closed.
        down_since: when it failed for the first time after it had been there; None while
            it answers, and if it never was there.
    """

    url: str
    policy: Policy
    failures: int = 0
    said: str = ""
    open_until: float | None = None
    down_since: float | None = None
    _was_there: bool = field(default=False, repr=False)

    def circuit(self, now: float) -> Circuit:
        """Whether it may be asked."""
        if self.open_until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self.open_until else Circuit.HALF_OPEN

    def answered(self) -> None:
        """It is well."""
        self.failures, self.open_until, self.down_since = 0, None, None
        self._was_there = True

    def failed(self, now: float, said: str, *, was_there: bool, leaves: bool) -> None:
        """It is not; ``was_there``: it was still reached; ``leaves``: it says that it ends."""
        self.failures = max(self.failures + 1, self.policy.failures_to_open * leaves)
        self.said = said
        self._was_there |= was_there
        if self._was_there and self.down_since is None:
            self.down_since = now
        if self.failures >= self.policy.failures_to_open:
            self.open_until = now + self.policy.open_s

    def probed_by(self, now: float) -> None:
        """Keep others from asking it at the same time."""
        self.open_until = now + self.policy.probe_s

    def is_awaited(self, now: float) -> bool:
        """Whether it is worth waiting for: it was there a short while ago."""
        return self.down_since is not None and now - self.down_since < self.policy.patience_s
