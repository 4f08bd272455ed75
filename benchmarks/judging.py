"""What must become of a request that something was done to: a right mask, or one line.

The service may answer or refuse. A mask that it gives must be that of the scan which the request
says, read here without the service.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from mutations import Mutant
from tritonclient.grpc import service_pb2 as triton
from wire import Request, meaning

from dyntransnet import repository as names
from dyntransnet.client.faults import Fault, fault_of
from dyntransnet.imaging.geometry import grid_shape
from dyntransnet.imaging.presets import Preset
from dyntransnet.imaging.scan import Scan

INFER = "/inference.GRPCInferenceService/ModelInfer"

Here = Callable[[Scan, Preset], np.ndarray]
"""The labels of a scan, as this process finds them."""

LARGE_VOXELS = 2**22
"""Of the network's grid: what an affine makes so large may take its time."""


@dataclass(frozen=True)
class Reply:
    """What a request came back with.

    Attributes:
        code: gRPC's status, as ``OK``.
        said: what came with it.
        labels: the mask, if one was given.
    """

    code: str
    said: str = ""
    labels: np.ndarray | None = None


def ask(channel: grpc.Channel, message: bytes, timeout_s: float) -> Reply:
    """Send a message as it is; an answer that cannot be read is an error of ours."""
    infer = channel.unary_unary(INFER)
    try:
        answer = triton.ModelInferResponse.FromString(infer(message, timeout=timeout_s))
    except grpc.RpcError as error:
        return Reply(error.code().name, error.details() or "")
    for tensor, values in zip(answer.outputs, answer.raw_output_contents, strict=False):
        if tensor.name == names.MASK:
            labels = np.frombuffer(values, np.uint8).reshape(tensor.shape)
            return Reply("OK", labels=labels)
    return Reply("OK")


def fault_in(mutant: Mutant, reply: Reply, here: Here) -> str:
    """What is wrong with a reply; empty where nothing is."""
    if reply.labels is not None:
        return _fault_in_mask(mutant, reply.labels, here)
    if reply.code == "OK":
        return ""
    said = reply.said.strip()
    if not said or ("\n" in said and not _names_hold_a_line(mutant.message)):
        return f"must be refused in one line, got {reply.code}: {said!r}"
    if reply.code == "DEADLINE_EXCEEDED" and not _is_large(mutant):
        return "must be answered in time, got no answer"
    is_lost = fault_of(reply.code, said).fault in (Fault.LOST, Fault.UNREACHED)
    if is_lost or "internal error" in said or "not healthy" in said:
        return f"must be answered or refused, got {reply.code}: {said}"
    return ""


def _fault_in_mask(mutant: Mutant, labels: np.ndarray, here: Here) -> str:
    try:
        expected = here(*meaning(mutant.message))
    except Exception as error:  # noqa: BLE001  # a mask of what cannot be read, whyever
        return f"must be refused, got a mask of {labels.shape}: {error!r}"
    if labels.shape != expected.shape or not np.array_equal(labels, expected):
        return f"must have the mask of its scan, got another of {labels.shape}"
    return ""


def _names_hold_a_line(message: bytes) -> bool:
    """Whether Triton, which repeats names before the service sees them, was given two lines."""
    try:
        request = Request.FromString(message)
    except DecodeError:
        return False
    tensors = [*request.inputs, *request.outputs]
    given = [
        request.model_name,
        request.model_version,
        request.id,
        *(each.name for each in tensors),
    ]
    return any("\n" in name for name in given)


def _is_large(mutant: Mutant) -> bool:
    try:
        scan, _ = meaning(mutant.message)
        return prod(grid_shape(scan.voxels.shape, scan.affine, (3.0, 3.0, 3.0))) > LARGE_VOXELS
    except Exception:  # noqa: BLE001  # it is no scan at all
        return False
