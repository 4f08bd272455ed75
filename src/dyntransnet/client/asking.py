"""One try of a request: asked in one call, or over a stream that tells of windows.

Like ``talk``, it carries nothing itself: it yields what is to be done.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dyntransnet import repository as names
from dyntransnet.client.call import Pause
from dyntransnet.client.faults import Fault, FaultError, fault_in_stream
from dyntransnet.client.regions import Region
from dyntransnet.client.wire import Request, Tensor, read_progress
from dyntransnet.imaging.tiling import Watch

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Ask:
    """Call a method of tritonclient's connection to a server."""

    url: str
    method: str
    timeout_s: float
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Open:
    """Begin a stream with one message; what is sent back is the stream."""

    url: str
    timeout_s: float
    message: Any


@dataclass(frozen=True)
class Read:
    """Wait for what a stream says next; None once it has ended."""

    stream: Any


Part = Generator[Ask | Open | Read | Pause, Any, Any]


@dataclass(frozen=True)
class Question:
    """A request, for one server.

    Attributes:
        url: of the server.
        request: the scan.
        left_s: of its budget; the server is told, too, for its queue and for the work.
        region: memory that voxels and mask go through; None: over the wire.
    """

    url: str
    request: Request
    left_s: float
    region: Region | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """What is given."""
        limit = Tensor(names.TIMEOUT, "FP64", np.array([self.left_s]))
        return [self.request.voxels, *self.request.others, limit]

    @property
    def places(self) -> dict[str, tuple[str, int, int]]:
        """Tensors that lie in shared memory: region, bytes, offset."""
        if (region := self.region) is None:
            return {}
        return {
            self.request.voxels.name: (region.name, region.voxel_bytes, 0),
            names.MASK: (region.name, region.mask_bytes, region.voxel_bytes),
        }

    @property
    def left_us(self) -> int:
        """The budget as Triton's queue takes it."""
        return int(self.left_s * MICROSECONDS)


def answered(question: Question, grpc: Any, watch: Watch | None) -> Part:
    """Have a question answered.

    Args:
        question: what is asked, and whom.
        grpc: tritonclient's module.
        watch: told of windows, over a stream; None: one call, and nothing is told.

    Returns:
        tritonclient's ``InferResult``.

    Raises:
        FaultError: there is no answer.
        ServingError: what the server tells of windows makes no sense.
    """
    if watch is None:
        return (yield _call(question, grpc))
    stream = yield Open(question.url, question.left_s, _message(question, grpc.service_pb2))
    try:
        return (yield from _followed(stream, question.request, grpc, watch))
    finally:
        stream.cancel()


def _followed(stream: Any, request: Request, grpc: Any, watch: Watch) -> Part:
    """The last answer of a stream, which is read to its end: it is then over at the server, too."""
    answer = fault = None
    while (said := (yield Read(stream))) is not None:
        if said.error_message:
            fault = fault_in_stream(said.error_message)
            continue
        answer = grpc.InferResult(said.infer_response)
        if windows := read_progress(answer, request):
            watch(*windows)
    if fault or answer is None:
        raise fault or FaultError(Fault.BROKEN, "the stream ended without an answer")
    return answer


def _call(question: Question, grpc: Any) -> Ask:
    """The front door's own call, in tritonclient's words."""
    inputs = [_input(question, tensor, grpc) for tensor in question.tensors]
    outputs = [grpc.InferRequestedOutput(name) for name in (names.MASK, names.REPORT)]
    for output in outputs:
        if place := question.places.get(output.name()):
            output.set_shared_memory(*place)
    arguments = {
        "model_name": names.FRONT_DOOR,
        "inputs": inputs,
        "outputs": outputs,
        "request_id": question.request.id,
        "timeout": question.left_us,
    }
    return Ask(question.url, "infer", question.left_s, arguments)


def _input(question: Question, tensor: Tensor, grpc: Any) -> Any:
    given = grpc.InferInput(tensor.name, tensor.array.shape, tensor.kind)
    if place := question.places.get(tensor.name):
        return given.set_shared_memory(*place)
    return given.set_data_from_numpy(tensor.array)


def _message(question: Question, protocol: Any) -> Any:
    """The same for the stream, as its only message."""
    message = protocol.ModelInferRequest(model_name=names.STREAM, id=question.request.id)
    message.parameters["timeout"].int64_param = question.left_us
    for tensor in question.tensors:
        given = message.inputs.add(name=tensor.name, datatype=tensor.kind, shape=tensor.array.shape)
        if tensor.name in question.places:
            _place(given, *question.places[tensor.name])
        else:
            message.raw_input_contents.append(tensor.as_bytes())
    for name in (names.PROGRESS, names.MASK, names.REPORT):
        wanted = message.outputs.add(name=name)
        if name in question.places:
            _place(wanted, *question.places[name])
    return message


def _place(tensor: Any, region: str, size: int, offset: int) -> None:
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = size
    tensor.parameters["shared_memory_offset"].int64_param = offset
