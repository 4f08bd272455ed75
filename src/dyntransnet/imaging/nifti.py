"""What a NIfTI file says of itself, and whether its bytes keep it.

ITK believes a header: it invents missing bytes and missing spacings, reads NaN as 0, and
asks for whatever memory the sizes call for. So headers are read here first, and contents
are run through in pieces, before ITK sees either. Voxels that stand in the file as they
are to be read are kept on the way: unpacking them again would take as long.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from math import prod
from pathlib import Path

import numpy as np

from dyntransnet.errors import ScanError
from dyntransnet.imaging.limits import check_axes, check_size

SUFFIXES = (".nii", ".nii.gz")

PIECE = 2**22
"""Bytes looked at together."""

MAX_HEADER_BYTES = 2**24
"""Where voxels must have begun: extensions are text of some kilobytes."""

TRAILING_BYTES = 2**20
"""Left unread after the last voxel; more means that the sizes are wrong."""

SAME_SPACING = 1e-2
"""Relative difference between pixdim and sform that rounding explains."""

_GZIP_MAGIC = b"\x1f\x8b"
_TYPES = {2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 16: "f4", 64: "f8"}
_BYTES = {2: 1, 256: 1, 4: 2, 512: 2, 8: 4, 768: 4, 16: 4, 1024: 8, 1280: 8, 64: 8}
_BYTES |= {128: 3, 2304: 4, 32: 8, 1536: 16, 1792: 16, 2048: 32}


_HEADER = np.dtype(
    {
        "names": [
            *("size", "dim", "datatype", "pixdim", "vox_offset"),
            *("slope", "intercept", "sform", "srow", "magic"),
        ],
        "formats": [
            *("<i4", "<8i2", "<i2", "<8f4", "<f4"),
            *("<f4", "<f4", "<i2", "<(3,4)f4", "S4"),
        ],
        "offsets": [0, 40, 70, 76, 108, 112, 116, 254, 280, 344],
        "itemsize": 348,
    }
)


@dataclass(frozen=True)
class Header:
    """What ITK passes over, of a header that holds together.

    Attributes:
        start: byte at which its voxels begin.
        end: byte after the last.
        kind: how numpy names their type; None for one that it lacks.
        shape: voxels along each axis.
        is_plain: whether they are to be read as they are, not scaled.
    """

    start: int
    end: int
    kind: str | None
    shape: tuple[int, ...]
    is_plain: bool

    @property
    def floats(self) -> str | None:
        """Their type where it knows NaN."""
        return self.kind if self.kind and self.kind[1] == "f" else None


def read_nifti(path: Path, case: str, shown: str) -> np.ndarray | None:
    """Make sure that a NIfTI file holds what its header says, and keep its voxels.

    Args:
        path: with one of ``SUFFIXES``, gzipped or not.
        case: who, in messages.
        shown: what they call the file, whose own name may be a patient's.

    Returns:
        (x, y, z) as stored, x fastest; None where that is not what is meant, as with
        values that are to be scaled: ITK knows.

    Raises:
        ScanError: it is no NIfTI file, its header contradicts itself, or bytes are
            missing, damaged, too many, NaN or infinite.
    """
    with _opened(path, case, shown) as stream:
        header = read_header(stream.read(_HEADER.itemsize), case, shown)
    kept = None
    if header.kind and header.is_plain and len(header.shape) == 3:
        kept = np.empty(header.shape, header.kind, order="F")
    with _opened(path, case, shown) as stream:
        _check_content(stream, header, case, shown, kept)
    return None if kept is None else kept.astype(kept.dtype.newbyteorder("="), copy=False)


def read_header(start: bytes, case: str, name: str) -> Header:
    """Read a header, and make sure that it does not contradict itself.

    Args:
        start: the file's first bytes.
        case: who, in messages.
        name: of the file, in messages.

    Raises:
        ScanError: as ``read_nifti``.
    """
    fields = _fields_of(start)
    if fields is None:
        raise ScanError(
            f"{case}: {name} must be a readable image, got no NIfTI-1 header in its "
            f"first {len(start)} bytes",
            code="unreadable",
        )
    dim = [int(edge) for edge in fields["dim"]]
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise ScanError(
            f"{case}: {name} must have 1 to 7 edges of 1 voxel or more, got {dim}",
            code="size-invalid",
        )
    if not start_is_possible(at := float(fields["vox_offset"])):
        raise ScanError(
            f"{case}: {name} must begin its voxels before byte {MAX_HEADER_BYTES}, got {at:g}",
            code="size-not-header",
        )
    _check_place(fields, case)
    return _sized(fields, dim, int(at), case, name)


def _sized(fields: np.void, dim: list[int], at: int, case: str, name: str) -> Header:
    """Where the voxels lie; their type says how long each is, and bitpix is nobody's guide."""
    kind = int(fields["datatype"])
    if kind not in _BYTES:
        raise ScanError(
            f"{case}: {name} must be a readable image, got data type {kind}", code="unreadable"
        )
    shape = tuple(dim[1 : dim[0] + 1])
    check_size(shape, _BYTES[kind], case)
    begin = max(at, _HEADER.itemsize + 4)
    order = fields.dtype["dim"].base.str[0]
    numpys = order + _TYPES[kind] if kind in _TYPES else None
    # As ITK has it: a slope of 0 is none, but an intercept beside it counts.
    is_plain = fields["slope"] in (0, 1) and fields["intercept"] == 0
    end = begin + prod(shape) * _BYTES[kind]
    return Header(begin, end, numpys, shape, bool(is_plain))


def start_is_possible(at: float) -> bool:
    """Whether voxels can begin there; NaN is no place."""
    return 0 <= at <= MAX_HEADER_BYTES


def _fields_of(start: bytes) -> np.void | None:
    """A NIfTI-1 header in its own byte order; None where there is none, as in NIfTI-2."""
    for order in ("<", ">") if len(start) >= _HEADER.itemsize else ():
        fields = np.frombuffer(start, _HEADER.newbyteorder(order), 1)[0]
        if fields["size"] == _HEADER.itemsize and fields["magic"] == b"n+1":
            return fields
    return None


def _check_place(fields: np.void, case: str) -> None:
    """Two places for one grid: ITK takes its spacing from pixdim, other tools from sform."""
    if not fields["sform"] > 0:
        return
    axes = fields["srow"][:, :3].astype(float)
    check_axes(axes, case)
    one, other = np.abs(fields["pixdim"][1:4].astype(float)), np.linalg.norm(axes, axis=0)
    if not np.allclose(one, other, rtol=SAME_SPACING, atol=0):
        raise ScanError(
            f"{case}: spacing must be the same in pixdim and sform, "
            f"got {_shown(one)} and {_shown(other)}",
            code="spacing-contradicts",
        )


def _check_content(
    stream: BufferedIOBase, header: Header, case: str, name: str, kept: np.ndarray | None
) -> None:
    """Run through all bytes in pieces; neither a long stream nor its end is taken on trust."""
    size = bad = 0
    rest = b""
    room = None if kept is None else kept.reshape(-1, order="F").view(np.uint8)
    while piece := stream.read(PIECE):
        begin = max(0, header.start - size)
        inside = memoryview(piece)[begin : max(begin, header.end - size)]
        if room is not None and inside:
            at = size + begin - header.start
            room[at : at + len(inside)] = np.frombuffer(inside, np.uint8)
        if header.floats:
            joined = rest + bytes(inside)
            whole = len(joined) - len(joined) % np.dtype(header.floats).itemsize
            numbers, rest = np.frombuffer(joined[:whole], header.floats), joined[whole:]
            bad += numbers.size - int(np.isfinite(numbers).sum())
        size += len(piece)
        if size > header.end + TRAILING_BYTES:
            raise _other_size(header, f"more than {header.end + TRAILING_BYTES}", case, name)
    if size < header.end:
        raise _other_size(header, str(size), case, name)
    if bad:
        raise ScanError(
            f"{case}: voxels must be finite, got {bad} NaN or infinite", code="not-finite"
        )


def _other_size(header: Header, found: str, case: str, name: str) -> ScanError:
    return ScanError(
        f"{case}: {name} must hold {header.end} bytes, got {found}", code="size-not-header"
    )


@contextmanager
def _opened(path: Path, case: str, shown: str) -> Iterator[BufferedIOBase]:
    """The content of a file, gzipped or not; whatever its name says, as ITK has it."""
    with path.open("rb") as stored:
        is_gzip = stored.read(2) == _GZIP_MAGIC
        stored.seek(0)
        try:
            yield gzip.GzipFile(fileobj=stored) if is_gzip else stored
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ScanError(
                f"{case}: {shown} must be a whole gzip file, got {error}", code="gzip-damaged"
            ) from error


def _shown(spacing: np.ndarray) -> str:
    return " x ".join(f"{edge:.4g}" for edge in spacing)
