"""Servers and a clock that exist only in a test."""

from collections.abc import Callable
from dataclasses import dataclass, field

from dyntransnet.client.call import Call, Pause, Probe, Send, Step
from dyntransnet.client.core import Core
from dyntransnet.client.faults import Fault, FaultError
from dyntransnet.client.policy import Policy

Answer = tuple[Fault | None, float]
"""None for a mask, and the seconds until it, or the fault, comes."""

WELL: Answer = (None, 1.0)


@dataclass
class World:
    """What happens to whom, and when.

    Attributes:
        policy: the clients'.
        urls: the servers.
        behavior: what a server does with a step at a time.
        chance: what is drawn for each pause.
        now: seconds.
        steps: what was done: when it began, and what it was.
    """

    policy: Policy
    urls: list[str]
    behavior: Callable[[str, float], Answer]
    chance: float = 0.5
    now: float = 1000.0
    steps: list[tuple[float, Step]] = field(default_factory=list)
    retries: int = 0
    answers: int = 0

    def __post_init__(self) -> None:
        self.core = Core(self.urls, self.policy, lambda: self.now, lambda: self.chance)

    def call(self, timeout_s: float = 100.0) -> str:
        """One request, from its begin to its end; the server that answered it."""
        call = Call(self.core, "case", "id", timeout_s)
        deadline = self.now + timeout_s
        while True:
            step = call.next_step()
            self.steps.append((self.now, step))
            if isinstance(step, Pause):
                assert self.now + step.seconds < deadline
                self.now += step.seconds
                continue
            assert self.now + step.timeout_s <= deadline + 1e-9
            fault, seconds = self.behavior(step.url, self.now)
            if seconds >= step.timeout_s:
                fault, seconds = Fault.LATE, step.timeout_s
            self.now += seconds
            error = FaultError(fault, fault.name.lower()) if fault else None
            if isinstance(step, Probe):
                call.probed(step.url, error)
            elif error:
                self.retries += call.tries > 1
                call.failed(step.url, error)
            else:
                self.retries += call.tries > 1
                self.answers += 1
                call.succeeded(step.url)
                return step.url

    def of(self, kind: type) -> list:
        """Steps of one kind."""
        return [step for _, step in self.steps if isinstance(step, kind)]

    @property
    def sent_to(self) -> list[str]:
        """Servers in the order in which requests were sent to them."""
        return [step.url for step in self.of(Send)]
