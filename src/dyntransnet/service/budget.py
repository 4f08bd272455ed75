"""When work on a scan must end before it is done."""

import time
from collections.abc import Callable


class GoneError(Exception):
    """The client no longer waits for the answer."""


class LateError(Exception):
    """The time that the client gave is over."""


class Budget:
    """What is left of a client's patience.

    Args:
        timeout_s: from now on; None: without end.
        is_cancelled: tells whether the client has gone.
    """

    def __init__(self, timeout_s: float | None, is_cancelled: Callable[[], bool]) -> None:
        self.timeout_s = timeout_s
        self._is_cancelled = is_cancelled
        self._begun = time.monotonic()

    def check(self) -> None:
        """Make sure that the answer is still wanted; asked before each call of the network.

        Raises:
            GoneError: the client has gone.
            LateError: its time is over.
        """
        if self._is_cancelled():
            raise GoneError("cancelled by the client")
        if self.timeout_s is not None and time.monotonic() - self._begun > self.timeout_s:
            raise LateError(f"deadline of {self.timeout_s:g} s has passed")
