"""What a gRPC status means: whether to try again, and what to tell the caller."""

from dataclasses import dataclass
from enum import Enum

from dyntransnet.errors import (
    BusyError,
    DeadlineError,
    NotReadyError,
    RefusedError,
    ServingError,
    UnreachableError,
)
from dyntransnet.service.statuses import STATUSES

BUSY = "Exceeds maximum queue size"
"""How Triton says that its queue is full; other refusals share the status code."""

OVERDUE = "Request timeout expired"
"""How Triton says that it did not begin in time."""

STOPPING = "erver is stopping"
"""How Triton and the front door say that they were told to end."""

RESTRICTED = "This protocol is restricted"
"""How Triton says that a key is missing."""

UNBEGUN = ("Request for unknown model", "stopped accepting")
"""How Triton says that a model is not there, or no longer."""

UNTRUSTED = ("handshake", "certificate", "ssl_error")
UNREACHED = ("failed to connect", "resolv", "resolution")
LOST = ("socket closed", "stream removed", "reset", "goaway", "broken pipe", "recvmsg", "sendmsg")
"""How gRPC says, in lower case, what became of a connection."""


class Again(Enum):
    """Where a request may be sent once more."""

    NOWHERE = 0
    ELSEWHERE = 1
    ANYWHERE = 2


@dataclass(frozen=True)
class Rule:
    """What follows from a fault.

    Attributes:
        again: where the request may be sent once more.
        harms: whether it speaks against the server: True opens its circuit in time,
            False shows that it is well, None says nothing.
        error: what the caller gets.
        must: the rule in the message.
    """

    again: Again
    harms: bool | None
    error: type[ServingError]
    must: str


class Fault(Enum):
    """Why a request has no answer."""

    UNREACHED = Rule(Again.ANYWHERE, True, UnreachableError, "must be reachable")
    # Nothing is stored on the server: a scan that may have been worked on can be sent again.
    LOST = Rule(Again.ANYWHERE, True, UnreachableError, "must keep the connection")
    BUSY = Rule(Again.ANYWHERE, False, BusyError, "must have room in its queue")
    # It said so itself: no need to find out by failures.
    STOPPING = Rule(Again.ANYWHERE, True, UnreachableError, "must go on running")
    UNTRUSTED = Rule(Again.ELSEWHERE, True, UnreachableError, "must be trusted")
    NOT_READY = Rule(Again.ELSEWHERE, True, NotReadyError, "must have its models ready")
    LATE = Rule(Again.NOWHERE, True, DeadlineError, "must answer in time")
    # The server itself gave up: it is well, and there is no time left.
    OVERDUE = Rule(Again.NOWHERE, False, DeadlineError, "must answer in time")
    REFUSED = Rule(Again.NOWHERE, False, RefusedError, "must take the request")
    # Not again: a scan that breaks a server would go on to break the next.
    BROKEN = Rule(Again.NOWHERE, None, ServingError, "must answer")

    @property
    def rule(self) -> Rule:
        """What follows from it."""
        return self.value


class FaultError(Exception):
    """A request that has no answer, as the core is told of it.

    Args:
        fault: why.
        said: the server's or gRPC's own words, one line.
    """

    def __init__(self, fault: Fault, said: str) -> None:
        super().__init__(said)
        self.fault = fault
        self.said = said


def fault_of(code: str, message: str) -> FaultError:
    """Tell faults apart.

    Args:
        code: gRPC's status, as ``UNAVAILABLE``.
        message: what came with it; only its first line is kept.
    """
    said = (message.strip().split("\n") or [""])[0]
    kind = _kind(code, said)
    return FaultError(kind, f"{code}: {said}" if kind is Fault.BROKEN else said)


def fault_in_stream(message: str) -> FaultError:
    """Tell apart what a stream says instead of an answer: words, and no status.

    The front door puts its status before its words. Triton's own errors are told by theirs.

    Args:
        message: as it came.
    """
    code, _, said = message.partition(": ")
    if code in STATUSES:
        return fault_of(code, said)
    is_early = any(sign in message for sign in (BUSY, OVERDUE, STOPPING, *UNBEGUN))
    return fault_of("UNAVAILABLE" if is_early else "INTERNAL", message)


def _kind(code: str, said: str) -> Fault:
    if code == "DEADLINE_EXCEEDED":
        return Fault.LATE
    if code in ("INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED") or RESTRICTED in said:
        return Fault.REFUSED
    if code == "UNAVAILABLE":
        return _kind_of_unavailable(said)
    if code == "CANCELLED":
        return Fault.OVERDUE
    return Fault.NOT_READY if code == "NOT_FOUND" else Fault.BROKEN


def _kind_of_unavailable(said: str) -> Fault:
    words = said.lower()
    known = ((BUSY, Fault.BUSY), (OVERDUE, Fault.OVERDUE), (STOPPING, Fault.STOPPING))
    for sign, kind in known:
        if sign in said:
            return kind
    # gRPC tells of a failed handshake within a failed connection.
    for signs, kind in ((UNTRUSTED, Fault.UNTRUSTED), (UNREACHED, Fault.UNREACHED)):
        if any(sign in words for sign in signs):
            return kind
    return Fault.LOST if any(sign in words for sign in LOST) else Fault.NOT_READY
