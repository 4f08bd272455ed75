"""How long training took, and how much of it the network had to wait for its windows."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Reading:
    """Seconds, added up over all the sessions of a run.

    Attributes:
        budget_s: of the processor on a CPU, all threads together; of the wall on a GPU.
        steps_s: of the wall, spent in steps: neither validating nor saving.
        waited_s: of those, spent on cutting and augmenting windows.
    """

    budget_s: float = 0.0
    steps_s: float = 0.0
    waited_s: float = 0.0

    @property
    def busy_share(self) -> float:
        """Share of the steps' time inside forward, backward and step."""
        return 1 - self.waited_s / self.steps_s if self.steps_s else 1.0


class Clock:
    """Measures one session of a run, from an earlier session's reading on.

    Args:
        device: where the network computes.
        before: what earlier sessions took.
    """

    def __init__(self, device: torch.device, before: Reading) -> None:
        self._device = device
        self._before = before
        self._paused_s = self._paused_budget_s = self._waited_s = 0.0
        self._begun_s, self._begun_budget_s = time.perf_counter(), self.budget_now_s()

    def budget_now_s(self) -> float:
        """The time that a budget is counted in; only differences mean something."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return time.perf_counter()
        return time.process_time()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The network waits for its windows meanwhile."""
        begun_s = time.perf_counter()
        yield
        self._waited_s += time.perf_counter() - begun_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens meanwhile is no training step."""
        begun_s, begun_budget_s = time.perf_counter(), self.budget_now_s()
        yield
        self._paused_s += time.perf_counter() - begun_s
        self._paused_budget_s += self.budget_now_s() - begun_budget_s

    def read(self) -> Reading:
        """What all sessions took so far."""
        budget_s = self.budget_now_s() - self._begun_budget_s - self._paused_budget_s
        steps_s = time.perf_counter() - self._begun_s - self._paused_s
        return Reading(
            budget_s=self._before.budget_s + budget_s,
            steps_s=self._before.steps_s + steps_s,
            waited_s=self._before.waited_s + self._waited_s,
        )
