"""DICOM files: finding them, reading some of their tags, and refusing what is damaged."""

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dyntransnet.errors import ScanError

MAGIC_AT = 128
MAGIC = b"DICM"

PIXEL_TAGS = ("Rows", "Columns", "BitsAllocated", "PixelData")

DAMAGE = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    struct.error,
    zlib.error,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RuntimeError,
)
"""How pydicom meets damaged files."""

META_AT = MAGIC_AT + len(MAGIC) + 12
"""Where the meta information begins that its group length counts."""

MAX_INFLATED = 2**28
"""Bytes of one file that was packed as a whole."""


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    try:
        with path.open("rb") as stream:
            stream.seek(MAGIC_AT)
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def dicom_files(folder: Path) -> list[Path]:
    """A folder's DICOM files, at any depth."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and is_dicom(path))


def read_tags(path: Path, tags: Sequence[str]) -> pydicom.Dataset:
    """Read some tags of a file; to be called, and its values used, while refusing damage."""
    _check_inflated(path)
    pixels = "PixelData" in tags
    return pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=list(tags))


def _check_inflated(path: Path) -> None:
    """Refuse a file that is packed as a whole and would become too large."""
    meta = read_file_meta_info(path)
    if meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return
    with path.open("rb") as stream:
        stream.seek(META_AT + int(meta.FileMetaInformationGroupLength))
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflater.decompress(stream.read(), MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise ValueError("too large")


def check_pixels(path: Path, who: str) -> None:
    """Make sure that an image that is not compressed has all of its pixels; GDCM does not.

    Args:
        path: a DICOM file.
        who: what messages call the image.

    Raises:
        ScanError: there are fewer than its size and bits need.
    """
    with refusing_damage(who):
        found = read_tags(path, PIXEL_TAGS)
        held = len(found.PixelData)
        needed = found.Rows * found.Columns * found.BitsAllocated // 8
        is_compressed = found.file_meta.TransferSyntaxUID.is_encapsulated
    if held < needed and not is_compressed:
        raise ScanError(
            f"{who} must have {needed} bytes of pixels, got {held}", code="size-not-header"
        )


@contextmanager
def refusing_damage(who: str) -> Iterator[None]:
    """Have a damaged file's errors become ours, without pydicom's words: they may quote it.

    Args:
        who: what messages call its case.

    Raises:
        ScanError: within the block pydicom gave up; its warnings are dropped.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DAMAGE as error:
        raise ScanError(
            f"{who}: DICOM files must be whole, got {type(error).__name__} from one",
            code="unreadable",
        ) from error
