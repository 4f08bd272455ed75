"""A scan as a request, and an answer as a mask."""

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyntransnet import repository as names
from dyntransnet.errors import RefusedError, ServingError
from dyntransnet.imaging.presets import Preset
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.imaging.segment import Segmentation

LIMIT_BYTES = 2**31 - 1
"""Of one gRPC message: protobuf counts in int32."""

REST_BYTES = 2**16
"""Set aside for everything of a request that is no voxel."""


REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""What servers take, and file names of shared memory hold."""


@dataclass(frozen=True)
class Tensor:
    """An input of the front door."""

    name: str
    kind: str
    array: np.ndarray

    def as_bytes(self) -> bytes:
        """As it travels: numbers z fastest, strings each after its length."""
        if self.kind != "BYTES":
            return self.array.tobytes()
        return b"".join(len(text).to_bytes(4, "little") + text for text in self.array.flat)


@dataclass(frozen=True)
class Request:
    """A scan on its way.

    Attributes:
        scan: int16 voxels travel as they are, at half the size of float32.
        id: of the request, as the server sees it.
        voxels: the scan's.
        others: what is small.
    """

    scan: Scan
    id: str
    voxels: Tensor
    others: tuple[Tensor, ...]

    @property
    def who(self) -> str:
        """The scan's name, for messages."""
        return self.scan.id


def request_of(scan: Scan, preset: Preset, request_id: str) -> Request:
    """Put a scan into the front door's tensors.

    Raises:
        RefusedError: the id is not one that a server takes.
    """
    if not REQUEST_ID.fullmatch(request_id):
        raise RefusedError(
            f"{scan.id}: request id must be 1 to 64 of A-Z a-z 0-9 . _ : -, got {request_id!r}"
        )
    if scan.voxels.dtype == np.int16:
        voxels = Tensor(names.VOXELS, "INT16", scan.voxels)
    else:
        real = scan.voxels.astype(np.float32, copy=False)
        voxels = Tensor(names.VOXELS_FLOAT, "FP32", real)
    others = (
        Tensor(names.AFFINE, "FP64", scan.affine.astype(np.float64, copy=False)),
        Tensor(names.CASE, "BYTES", np.array([scan.id.encode()], np.object_)),
        Tensor(names.PRESET, "BYTES", np.array([preset.encode()], np.object_)),
    )
    return Request(scan, request_id, voxels, others)


def check_message(request: Request) -> None:
    """Make sure, before anything is sent, that a scan fits into one gRPC message.

    Raises:
        RefusedError: it does not.
    """
    array = request.voxels.array
    if array.nbytes + REST_BYTES > LIMIT_BYTES:
        raise RefusedError(
            f"{request.who}: voxels must fit into one gRPC message of {LIMIT_BYTES} bytes, got "
            f"{array.nbytes} bytes of {array.shape} {array.dtype} (request {request.id})",
            request_id=request.id,
        )


def read_report(answer: Any, request: Request) -> dict[str, Any]:
    """The report of an answer, with the request's id in it.

    Raises:
        ServingError: it is another request's, or holds none.
    """
    _check_id(answer, request)
    try:
        report = json.loads(answer.as_numpy(names.REPORT)[0])
    except (TypeError, ValueError, IndexError) as error:
        raise _unfit(request, f"hold a report in JSON, got {error}") from error
    return {**report, "request_id": request.id}


def read_progress(answer: Any, request: Request) -> tuple[int, int] | None:
    """Windows done and of how many, where an answer tells that.

    Raises:
        ServingError: it is another request's, or tells something else.
    """
    told = answer.as_numpy(names.PROGRESS)
    if told is None:
        return None
    _check_id(answer, request)
    if told.shape != (2,) or not 0 <= told[0] <= told[1]:
        raise _unfit(request, f"tell of windows done and of how many, got {told.tolist()}")
    return int(told[0]), int(told[1])


def segmentation_of(labels: np.ndarray | None, report: dict, request: Request) -> Segmentation:
    """What the caller gets.

    Args:
        labels: as they came; copied.
        report: what ``read_report`` gave.
        request: what was asked.

    Raises:
        ServingError: the labels are no mask of this scan.
    """
    scan = request.scan
    if labels is None or labels.dtype != np.uint8 or labels.shape != scan.voxels.shape:
        got = "none" if labels is None else f"{labels.dtype} {labels.shape}"
        raise _unfit(request, f"hold a uint8 mask of {scan.voxels.shape}, got {got}")
    # The wire's buffer is read-only; files and SimpleITK have x run fastest.
    return Segmentation(Mask(labels.copy(order="F"), scan.affine), report)


def _check_id(answer: Any, request: Request) -> None:
    said = answer.get_response().id
    if said not in ("", request.id):
        raise _unfit(request, f"carry its id, got the answer to {said}")


def _unfit(request: Request, what: str) -> ServingError:
    return ServingError(
        f"{request.who}: the server's answer must {what} (request {request.id})",
        request_id=request.id,
    )
