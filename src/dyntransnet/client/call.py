"""What one request does next, until it is answered or given up.

Like ``core``, it knows nothing of sockets.
"""

from dataclasses import dataclass

from dyntransnet.client.core import Core
from dyntransnet.client.faults import Again, Fault, FaultError
from dyntransnet.errors import DeadlineError, ServingError, UnreachableError


@dataclass(frozen=True)
class Send:
    """Send the request to a server."""

    url: str
    timeout_s: float


@dataclass(frozen=True)
class Probe:
    """Ask a server whether it is ready."""

    url: str
    timeout_s: float


@dataclass(frozen=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


Step = Send | Probe | Pause

POLL_S = 0.25
"""Of waiting for a server: another call may find out meanwhile that it is back."""


class Call:
    """One request, from its first try to its answer or its error.

    Args:
        core: what it shares with others.
        case: who, in messages.
        request_id: likewise.
        timeout_s: budget, with all that is waited.
    """

    def __init__(self, core: Core, case: str, request_id: str, timeout_s: float) -> None:
        self.case = case
        self.request_id = request_id
        self.timeout_s = timeout_s
        self.tries = 0
        self._core = core
        self._deadline = core.clock() + timeout_s
        self._round = 0
        self._asked: set[str] = set()
        self._unfit: set[str] = set()
        self._last: tuple[str, FaultError] | None = None

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; never 0 or less, which gRPC refuses in its own way."""
        return max(self._deadline - self._core.clock(), 1e-3)

    def next_step(self) -> Step:
        """What to do now.

        Raises:
            ServingError: there is nothing more to try, or no time.
        """
        left = self._deadline - self._core.clock()
        if left <= 0:
            raise self._late()
        chosen = self._core.choose(self._asked | self._unfit)
        if chosen is None:
            return self._pause(left)
        server, is_probe = chosen
        if is_probe:
            return Probe(server.url, min(left, self._core.policy.probe_s))
        self.tries += 1
        self._asked.add(server.url)
        return Send(server.url, left)

    def succeeded(self, url: str) -> None:
        """The request was answered."""
        self._core.answered(url)

    def probed(self, url: str, error: FaultError | None) -> None:
        """A server answered whether it is ready; with an error it is not."""
        self._core.observed(url, error)
        if error:
            self._last = url, error

    def failed(self, url: str, error: FaultError) -> None:
        """A try had no answer.

        Raises:
            ServingError: it is not to be tried again.
        """
        self._core.observed(url, error)
        self._last = url, error
        again = error.fault.rule.again
        if again is Again.ELSEWHERE:
            self._unfit.add(url)
        is_last = again is Again.NOWHERE or self.tries >= self._core.policy.tries
        if is_last or not self._core.may_retry():
            raise self.error()

    def error(self) -> ServingError:
        """What the caller is told of the last fault."""
        if self._last is None:
            said = f"{self.case}: a server must be there, got {self._core.down()}"
            return UnreachableError(self._signed(said), request_id=self.request_id)
        url, error = self._last
        if error.fault is Fault.LATE:
            return self._late()
        rule, said = error.fault.rule, f"server at {url} refused the scan: {error.said}"
        if error.fault is not Fault.REFUSED:
            said = f"{self.case}: server at {url} {rule.must}, got {error.said}"
        return rule.error(self._signed(said), request_id=self.request_id)

    def _pause(self, left: float) -> Pause:
        """Before the next round of servers, or until one comes back.

        Raises:
            ServingError: that is not worth it, or takes longer than there is time.
        """
        seconds = self._core.wait_s(self._unfit)
        if seconds is None:
            raise self.error()
        seconds = min(seconds, POLL_S)
        if self._asked:
            policy, self._asked = self._core.policy, set()
            longest = min(policy.longest_pause_s, policy.first_pause_s * 2**self._round)
            self._round += 1
            seconds = max(seconds, self._core.chance() * longest)
        if seconds >= left:
            raise self.error()
        return Pause(seconds)

    def _late(self) -> DeadlineError:
        where = "a server" if self._last is None else f"server at {self._last[0]}"
        said = f"{self.case}: {where} must answer within {self.timeout_s:g} s, got no answer"
        if self._last and self._last[1].fault is not Fault.LATE:
            said += f", and before that {self._last[1].said}"
        return DeadlineError(self._signed(said), request_id=self.request_id)

    def _signed(self, said: str) -> str:
        count = f", sent {self.tries} times" if self.tries > 1 else ""
        # A server may have signed what it said, too.
        said = said.removesuffix(f" (request {self.request_id})")
        return f"{said} (request {self.request_id}{count})"
