"""What the files of a folder say that choosing a series and its geometry need."""

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from dyntransnet.errors import ScanError

MAGIC_AT = 128
MAGIC = b"DICM"

TAGS = (
    "Modality",
    "ImageType",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "NumberOfFrames",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
)
"""All that is read of an image's header."""

PIXEL_TAGS = ("Rows", "Columns", "BitsAllocated", "PixelData")

DAMAGE = (
    InvalidDicomError,
    OSError,
    EOFError,
    struct.error,
    zlib.error,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    NotImplementedError,
)
"""How pydicom meets damaged files."""

UNIT_TOLERANCE = 1e-3
"""How far directions may be from length 1 and from a right angle."""


@dataclass(frozen=True)
class Plane:
    """Where an image's pixels lie, in LPS millimeters.

    Attributes:
        columns: how many.
        rows: how many.
        position: center of the first pixel.
        across: unit vector along a row, in which the column number grows.
        down: unit vector along a column, in which the row number grows.
        spacing_mm: between columns, between rows.
    """

    columns: int
    rows: int
    position: np.ndarray
    across: np.ndarray
    down: np.ndarray
    spacing_mm: tuple[float, float]

    @property
    def normal(self) -> np.ndarray:
        """Unit vector in which slices are stacked."""
        return np.cross(self.across, self.down)


@dataclass(frozen=True)
class Header:
    """One file.

    Attributes:
        path: the file; never shown.
        modality: "CT", "MR", "SEG" and others.
        series: its instance UID; empty in some anonymous data.
        study: likewise.
        person: the patient's id; only compared, never shown.
        number: of the series, as people know it.
        frame_of_reference: files that share it share a world.
        frames: images in the file.
        is_localizer: an overview to plan the scan on.
        plane: None where the file holds no image in space.
    """

    path: Path = field(repr=False)
    modality: str
    series: str
    study: str = field(repr=False)
    person: str = field(repr=False)
    number: str
    frame_of_reference: str
    frames: int
    is_localizer: bool
    plane: Plane | None


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


def read_header(path: Path, who: str) -> Header:
    """Read one file's header.

    Args:
        path: a DICOM file.
        who: what messages call its case.

    Raises:
        ScanError: it is damaged.
    """
    with refusing_damage(who):
        found = read_tags(path, TAGS)
        return Header(
            path=path,
            modality=_text(found, "Modality"),
            series=_text(found, "SeriesInstanceUID"),
            study=_text(found, "StudyInstanceUID"),
            person=_text(found, "PatientID"),
            number=_text(found, "SeriesNumber"),
            frame_of_reference=_text(found, "FrameOfReferenceUID"),
            frames=int(found.get("NumberOfFrames") or 1),
            is_localizer="LOCALIZER" in (found.get("ImageType") or ()),
            plane=_plane(found, who),
        )


def read_tags(path: Path, tags: Sequence[str]) -> pydicom.Dataset:
    """Read some tags of a file; to be called, and its values used, while refusing damage."""
    pixels = "PixelData" in tags
    return pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=list(tags))


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
        if found.file_meta.TransferSyntaxUID.is_encapsulated:
            return
        needed = found.Rows * found.Columns * found.BitsAllocated // 8
        held = len(found.PixelData)
    if held < needed:
        raise ScanError(f"{who} must have {needed} bytes of pixels, got {held}")


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
            f"{who}: DICOM files must be whole, got {type(error).__name__} from one"
        ) from error


def plane_of(
    shape: tuple[int, int], position: Any, directions: Any, spacing: Any, who: str
) -> Plane:
    """A plane of DICOM's own values.

    Args:
        shape: rows, columns.
        position: ImagePositionPatient.
        directions: ImageOrientationPatient.
        spacing: PixelSpacing, between rows first.
        who: what messages call its case.

    Raises:
        ScanError: there are too few numbers, the directions are no unit vectors at a right
            angle, or the spacing is not positive.
    """
    place, both, (between_rows, between_columns) = (
        np.array([float(value) for value in values]) for values in (position, directions, spacing)
    )
    if (place.size, both.size) != (3, 6):
        raise ScanError(
            f"{who}: a slice's position must be 3 numbers and its direction 6, "
            f"got {place.size} and {both.size}"
        )
    across, down = both[:3], both[3:]
    products = np.array([across @ across, down @ down, across @ down])
    if not np.abs(products - (1, 1, 0)).max() <= UNIT_TOLERANCE or not np.isfinite(place).all():
        raise ScanError(
            f"{who}: a slice's axes must be unit vectors at a right angle, got {both.tolist()}"
        )
    if not (between_rows > 0 and between_columns > 0):
        raise ScanError(
            f"{who}: pixel spacing must be above 0 mm, got {between_rows:g} x {between_columns:g}"
        )
    across = across / np.linalg.norm(across)
    down = down - (down @ across) * across
    return Plane(
        columns=shape[1],
        rows=shape[0],
        position=place,
        across=across,
        down=down / np.linalg.norm(down),
        spacing_mm=(float(between_columns), float(between_rows)),
    )


def _plane(found: pydicom.Dataset, who: str) -> Plane | None:
    names = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    position, directions, spacing = (found.get(name) for name in names)
    if not (position and directions and spacing and found.get("Rows") and found.get("Columns")):
        return None
    return plane_of((int(found.Rows), int(found.Columns)), position, directions, spacing, who)


def _text(found: pydicom.Dataset, name: str) -> str:
    return str(found.get(name) or "").strip()
