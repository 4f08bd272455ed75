"""A request, checked before memory is taken for it."""

import math
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dyntransnet import repository as names
from dyntransnet.errors import ScanError
from dyntransnet.imaging.limits import check_size
from dyntransnet.imaging.presets import Preset
from dyntransnet.imaging.scan import Scan

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""What an id may be: it goes into the log, so nothing that could forge a line of it."""

MAX_NAME = 256
"""Letters of a case's name."""

LAST_ROW = [0.0, 0.0, 0.0, 1.0]
"""Of an affine; anything else is one that was stored by columns, or damaged."""

Tensors = Callable[[str], np.ndarray | None]
"""An input's name to its values, or None where it was not given."""


@dataclass(frozen=True)
class Asked:
    """What a caller wants.

    Attributes:
        scan: to be segmented.
        preset: what the mask may cost.
        timeout_s: for the work itself; None: as long as it takes.
        version: folder of the network to ask; None: the one that has the traffic.
    """

    scan: Scan
    preset: Preset
    timeout_s: float | None
    version: int | None


def request_id_of(given: str) -> str:
    """The caller's own id, or a new one where it has none.

    Raises:
        ScanError: it is not an id.
    """
    if not given:
        return uuid.uuid4().hex
    if not REQUEST_ID.fullmatch(given):
        raise ScanError(
            f"request id: must be 1 to 64 of A-Z a-z 0-9 . _ : -, got {len(given)} characters"
        )
    return given


def read_request(tensors: Tensors, *, queue_timeout_us: int = 0) -> Asked:
    """Read what a caller wants.

    Args:
        tensors: the request's inputs, of the types and ranks that config.pbtxt promises.
        queue_timeout_us: Triton's own timeout of the request; 0 for none.

    Raises:
        ScanError: an input is missing, too large or of a value that is not allowed.
    """
    case = _text(tensors, names.CASE) or "scan"
    whole, real = tensors(names.VOXELS), tensors(names.VOXELS_FLOAT)
    if (whole is None) == (real is None):
        found = "none" if whole is None else "both"
        raise ScanError(
            f"{case}: one of {names.VOXELS} and {names.VOXELS_FLOAT} must be given, got {found}"
        )
    voxels, affine = real if whole is None else whole, tensors(names.AFFINE)
    if voxels is None or affine is None or voxels.ndim != 3 or affine.shape != (4, 4):
        raise ScanError(f"{case}: must be (x, y, z) voxels and a (4, 4) affine, got others")
    check_size(voxels.shape, voxels.itemsize, case)
    # Of an affine with NaN the scan's own check says what is wrong.
    if np.isfinite(affine).all() and affine[3].tolist() != LAST_ROW:
        raise ScanError(
            f"{case}: the affine's last row must be {LAST_ROW}, got {affine[3].tolist()}",
            code="affine-singular",
        )
    return Asked(
        scan=Scan(case, voxels, affine),
        preset=_preset(tensors),
        timeout_s=_timeout_s(tensors, queue_timeout_us),
        version=_version(tensors),
    )


def _text(tensors: Tensors, name: str) -> str | None:
    given = tensors(name)
    if given is None:
        return None
    try:
        text: str = given[0].decode()
    except UnicodeDecodeError as error:
        raise ScanError(f"{name}: must be UTF-8, got {error.reason}") from error
    if len(text) > MAX_NAME:
        raise ScanError(f"{name}: must have at most {MAX_NAME} letters, got {len(text)}")
    # It is repeated in messages, which are one line each.
    if text.splitlines() not in ([], [text]):
        raise ScanError(f"{name}: must be one line, got a line break")
    return text


def _preset(tensors: Tensors) -> Preset:
    name = _text(tensors, names.PRESET) or Preset.STANDARD
    if name not in [*Preset]:
        raise ScanError(f"{names.PRESET}: must be one of {', '.join(Preset)}, got {name}")
    return Preset(name)


def _timeout_s(tensors: Tensors, queue_timeout_us: int) -> float | None:
    """The shorter of both, where both are given."""
    given = tensors(names.TIMEOUT)
    limits = [queue_timeout_us / 1e6] if queue_timeout_us else []
    if given is not None:
        seconds = float(given[0])
        if not (math.isfinite(seconds) and seconds > 0):
            raise ScanError(f"{names.TIMEOUT}: must be above 0, got {seconds:g}")
        limits.append(seconds)
    return min(limits, default=None)


def _version(tensors: Tensors) -> int | None:
    text = _text(tensors, names.NETWORK_VERSION)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ScanError(f"{names.NETWORK_VERSION}: must be a number, got {text}")
    return int(text)
