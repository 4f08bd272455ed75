"""What a caller is told while a scan is on its way."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dyntransnet.imaging.tiling import Watch


class Phase(StrEnum):
    """Where a request is."""

    SENDING = "sending"
    WAITING = "waiting"
    """For the next try, or for a server to come back."""

    WORKING = "working"
    """On the server, window by window; told a few times a second, from the first ones on."""

    DONE = "done"


@dataclass(frozen=True)
class Progress:
    """A step of one request.

    Attributes:
        case: the scan's name.
        request_id: of the request, the same for all of its tries.
        phase: where it is.
        server: host and port; empty while none is chosen.
        tries: how often it was sent.
        done: windows that are answered, in the phase ``working``; they begin anew with each try.
        total: windows of the scan; 0 in the other phases.
    """

    case: str
    request_id: str
    phase: Phase
    server: str = ""
    tries: int = 0
    done: int = 0
    total: int = 0


Listener = Callable[[Progress], object]


def watch_for(listener: Listener, case: str) -> Watch:
    """Have a listener told of windows that are worked on in this process, without a server."""

    def watch(done: int, total: int) -> None:
        listener(Progress(case, "", Phase.WORKING, done=done, total=total))

    return watch
