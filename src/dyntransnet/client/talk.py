"""What a client and a server say to each other, without a word on how it is carried.

Each talk is a generator. It yields ``Ask`` and ``Pause``; who runs it sends the answer
back in or throws a ``FaultError``, blocking or with asyncio.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from dyntransnet import repository as names
from dyntransnet.client.call import Call, Pause, Probe, Send
from dyntransnet.client.faults import Fault, FaultError
from dyntransnet.client.progress import Listener, Phase, Progress
from dyntransnet.client.regions import Region, Sharing, region_for
from dyntransnet.client.wire import (
    Request,
    Tensor,
    check_message,
    read_report,
    segmentation_of,
)
from dyntransnet.imaging.segment import Segmentation

TIDY_S = 1.0
"""Longest wait for a server to let go of a region."""

MICROSECONDS = 1_000_000

IN_USE = "currently in use"
"""How Triton says that it cannot let go of a region yet."""


@dataclass(frozen=True)
class Ask:
    """Call a method of tritonclient's connection to a server."""

    url: str
    method: str
    timeout_s: float
    arguments: dict[str, Any] = field(default_factory=dict)


Talk = Generator[Ask | Pause, Any, Segmentation]
Part = Generator[Ask | Pause, Any, Any]


def segmentation(
    call: Call, request: Request, sharing: Sharing, grpc: Any, listener: Listener
) -> Talk:
    """Have a scan labeled.

    Args:
        call: what to do next.
        request: the scan.
        sharing: which servers share memory.
        grpc: tritonclient's module.
        listener: told of each step.

    Raises:
        ServingError: there is no answer, or none that can be used.
    """

    def tell(phase: Phase, url: str = "") -> None:
        listener(Progress(request.who, request.id, phase, url, call.tries))

    while True:
        step = call.next_step()
        if isinstance(step, Pause):
            tell(Phase.WAITING)
            yield step
        elif isinstance(step, Probe):
            yield from _probe(call, step)
        else:
            tell(Phase.SENDING, step.url)
            try:
                found = yield from _exchange(step, call, request, sharing, grpc)
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


def _exchange(step: Send, call: Call, request: Request, sharing: Sharing, grpc: Any) -> Talk:
    """Through shared memory where that can be had, else over the wire."""
    if sharing.is_with(step.url):
        found = yield from _through_memory(step.url, call, request, sharing, grpc)
        if found is not None:
            return found
    check_message(request)
    inputs = [_input(grpc, tensor) for tensor in (request.voxels, *request.others)]
    outputs = [grpc.InferRequestedOutput(name) for name in (names.MASK, names.REPORT)]
    answer = yield _infer(step.url, call.left_s, request, inputs, outputs)
    return segmentation_of(answer.as_numpy(names.MASK), read_report(answer, request), request)


def _through_memory(
    url: str, call: Call, request: Request, sharing: Sharing, grpc: Any
) -> Generator[Ask | Pause, Any, Segmentation | None]:
    """None where the server does not share memory after all."""
    found = None
    try:
        with region_for(request, call.tries) as region:
            if (yield from _is_registered(url, call, region, sharing)):
                found = yield from _within(region, url, call, request, grpc)
    except OSError as error:
        sharing.give_up(url, error)
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


def _within(region: Region, url: str, call: Call, request: Request, grpc: Any) -> Talk:
    voxels = request.voxels
    placed = grpc.InferInput(voxels.name, voxels.array.shape, voxels.kind)
    placed.set_shared_memory(region.name, region.voxel_bytes)
    mask, report = (grpc.InferRequestedOutput(name) for name in (names.MASK, names.REPORT))
    mask.set_shared_memory(region.name, region.mask_bytes, region.voxel_bytes)
    inputs = [placed, *(_input(grpc, tensor) for tensor in request.others)]
    answer = yield _infer(url, call.left_s, request, inputs, [mask, report])
    said = answer.get_output(names.MASK)
    is_whole = said is not None and tuple(said.shape) == voxels.array.shape
    labels = region.labels(voxels.array.shape) if is_whole else None
    return segmentation_of(labels, read_report(answer, request), request)


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


def _input(grpc: Any, tensor: Tensor) -> Any:
    given = grpc.InferInput(tensor.name, tensor.array.shape, tensor.kind)
    return given.set_data_from_numpy(tensor.array)


def _infer(url: str, left_s: float, request: Request, inputs: list, outputs: list) -> Ask:
    """The server is told how long the answer is waited for, too."""
    arguments = {
        "model_name": names.FRONT_DOOR,
        "inputs": inputs,
        "outputs": outputs,
        "request_id": request.id,
        "timeout": int(left_s * MICROSECONDS),
    }
    return Ask(url, "infer", left_s, arguments)
