"""What a client and a server say to each other, without a word on how it is carried.

Each talk is a generator. It yields ``Ask``, ``Open``, ``Read`` and ``Pause``; who runs it sends
the answer back in or throws a ``FaultError``, blocking or with asyncio.
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from typing import Any

from dyntransnet import repository as names
from dyntransnet.client.asking import Ask, Open, Part, Question, Read, answered
from dyntransnet.client.call import Call, Pause, Probe
from dyntransnet.client.faults import Fault, FaultError
from dyntransnet.client.progress import Listener, Phase, Progress
from dyntransnet.client.regions import Region, Sharing, region_for
from dyntransnet.client.wire import Request, check_message, read_report, segmentation_of
from dyntransnet.imaging.segment import Segmentation

TIDY_S = 1.0
"""Longest wait for a server to let go of a region."""

IN_USE = "currently in use"
"""How Triton says that it cannot let go of a region yet."""


Talk = Generator[Ask | Open | Read | Pause, Any, Segmentation]
Answer = Callable[[Question], Part]
"""A question to what tritonclient has for an answer."""


def segmentation(
    call: Call, request: Request, sharing: Sharing, grpc: Any, listener: Listener | None
) -> Talk:
    """Have a scan labeled.

    Args:
        call: what to do next.
        request: the scan.
        sharing: which servers share memory.
        grpc: tritonclient's module.
        listener: told of each step, and of windows over a stream; None: one call does.

    Raises:
        ServingError: there is no answer, or none that can be used.
    """

    def tell(phase: Phase, url: str = "", done: int = 0, total: int = 0) -> None:
        if listener:
            listener(Progress(request.who, request.id, phase, url, call.tries, done, total))

    while True:
        step = call.next_step()
        if isinstance(step, Pause):
            tell(Phase.WAITING)
            yield step
        elif isinstance(step, Probe):
            yield from _probe(call, step)
        else:
            tell(Phase.SENDING, step.url)
            watch = partial(tell, Phase.WORKING, step.url) if listener else None
            answer = partial(answered, grpc=grpc, watch=watch)
            try:
                found = yield from _exchange(step.url, call, request, sharing, answer)
            except FaultError as error:
                call.failed(step.url, error)
                continue
            call.succeeded(step.url)
            tell(Phase.DONE, step.url)
            return found


def readiness(url: str, timeout_s: float) -> Part:
    """Make sure that both models of a server are ready.

    Raises:
        FaultError: they are not.
    """
    for model in (names.NETWORK, names.FRONT_DOOR):
        ready = yield Ask(url, "is_model_ready", timeout_s, {"model_name": model})
        if not ready:
            raise FaultError(Fault.NOT_READY, f"{model} is not")


def farewell(url: str, sharing: Sharing) -> Part:
    """Have a server let go of all regions, before the connection is closed."""
    rounds = 8
    for _ in range(rounds):
        if not sharing.held_by(url):
            return
        yield from _tidy(url, sharing)
        if sharing.held_by(url):
            yield Pause(TIDY_S / rounds)
    for name in sharing.held_by(url):
        sharing.forget(url, name)


def _probe(call: Call, step: Probe) -> Part:
    try:
        yield from readiness(step.url, step.timeout_s)
    except FaultError as error:
        call.probed(step.url, error)
    else:
        call.probed(step.url, None)


def _exchange(url: str, call: Call, request: Request, sharing: Sharing, answer: Answer) -> Talk:
    """Through shared memory where that can be had, else over the wire."""
    if sharing.is_with(url):
        found = yield from _through_memory(url, call, request, sharing, answer)
        if found is not None:
            return found
    check_message(request)
    said = yield from answer(Question(url, request, call.left_s))
    return segmentation_of(said.as_numpy(names.MASK), read_report(said, request), request)


def _through_memory(
    url: str, call: Call, request: Request, sharing: Sharing, answer: Answer
) -> Generator[Ask | Open | Read | Pause, Any, Segmentation | None]:
    """None where the server does not share memory after all."""
    found = None
    try:
        with ExitStack() as stack:
            try:
                region = stack.enter_context(region_for(request, call.tries))
            except OSError as error:
                sharing.give_up(url, error)
                return None
            if (yield from _is_registered(url, call, region, sharing)):
                question = Question(url, request, call.left_s, region)
                found = yield from _within(region, question, answer)
    except FaultError as error:
        if error.fault is not Fault.LATE:
            yield from _tidy(url, sharing)
        raise
    yield from _tidy(url, sharing)
    return found


def _is_registered(url: str, call: Call, region: Region, sharing: Sharing) -> Part:
    """Whether a server takes a region."""
    place = {"name": region.name, "key": region.key, "byte_size": region.size}
    sharing.hold(url, region.name)
    try:
        yield Ask(url, "register_system_shared_memory", call.left_s, place)
    except FaultError as error:
        if error.fault in (Fault.REFUSED, Fault.BROKEN, Fault.NOT_READY):
            sharing.forget(url, region.name)
            sharing.give_up(url, error)
            return False
        raise
    return True


def _within(region: Region, question: Question, answer: Answer) -> Talk:
    request, shape = question.request, question.request.voxels.array.shape
    said = yield from answer(question)
    mask = said.get_output(names.MASK)
    is_whole = mask is not None and tuple(mask.shape) == shape
    labels = region.labels(shape) if is_whole else None
    return segmentation_of(labels, read_report(said, request), request)


def _tidy(url: str, sharing: Sharing) -> Part:
    """Have a server let go of the regions that it no longer works on."""
    for name in sharing.held_by(url):
        try:
            yield Ask(url, "unregister_system_shared_memory", TIDY_S, {"name": name})
        except FaultError as error:
            # A server on this host that is not there has let go of everything.
            if IN_USE in error.said or error.fault in (Fault.LOST, Fault.LATE):
                continue
        sharing.forget(url, name)
