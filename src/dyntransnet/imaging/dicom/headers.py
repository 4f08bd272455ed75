"""What the files of a folder say that choosing a series and its geometry need."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.filereader import read_file_meta_info
from pydicom.uid import MediaStorageDirectoryStorage

from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.files import read_tags, refusing_damage

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

MAX_EDGE = 4096
"""Rows and columns: no scanner's, and what a damaged header may ask memory for."""

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


def read_header(path: Path, who: str) -> Header:
    """Read one file's header.

    Args:
        path: a DICOM file.
        who: what messages call its case.

    Raises:
        ScanError: it is damaged, or cut off before it says what it shows: it would be taken
            for no slice, and not be missed.
    """
    with refusing_damage(who):
        found = read_tags(path, TAGS)
        header = Header(
            path=path,
            modality=_text(found, "Modality"),
            series=_text(found, "SeriesInstanceUID"),
            study=_text(found, "StudyInstanceUID"),
            person=_text(found, "PatientID"),
            number=_digits(found, "SeriesNumber"),
            frame_of_reference=_text(found, "FrameOfReferenceUID"),
            frames=int(found.get("NumberOfFrames") or 1),
            is_localizer="LOCALIZER" in (found.get("ImageType") or ()),
            plane=_plane(found, who),
        )
    if not header.modality and not _is_directory(path, who):
        raise ScanError(
            f"{who}: must say what it shows (Modality), got nothing, as of a file that was cut off",
            code="unreadable",
        )
    return header


def _is_directory(path: Path, who: str) -> bool:
    """Whether a file is a disk's table of contents, which shows nothing."""
    with refusing_damage(who):
        return read_file_meta_info(path).MediaStorageSOPClassUID == MediaStorageDirectoryStorage


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
        ScanError: the slice is too large, there are too few numbers, the directions are no
            unit vectors at a right angle, or the spacing is not positive.
    """
    place, both, (between_rows, between_columns) = (
        np.array([float(value) for value in values]) for values in (position, directions, spacing)
    )
    if max(shape) > MAX_EDGE:
        raise ScanError(
            f"{who}: a slice must have at most {MAX_EDGE} rows and columns, got {max(shape)}",
            code="too-large",
        )
    if (place.size, both.size) != (3, 6):
        raise ScanError(
            f"{who}: a slice's position must be 3 numbers and its direction 6, "
            f"got {place.size} and {both.size}",
            code="slice-place",
        )
    across, down = both[:3], both[3:]
    products = np.array([across @ across, down @ down, across @ down])
    if not np.abs(products - (1, 1, 0)).max() <= UNIT_TOLERANCE or not np.isfinite(place).all():
        raise ScanError(
            f"{who}: a slice's axes must be unit vectors at a right angle, got {both.tolist()}",
            code="slice-place",
        )
    if not (between_rows > 0 and between_columns > 0):
        raise ScanError(
            f"{who}: pixel spacing must be above 0 mm, got {between_rows:g} x {between_columns:g}",
            code="slice-place",
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


def _digits(found: pydicom.Dataset, name: str) -> str:
    """A number that may be shown; in a damaged header anything may stand there."""
    text = _text(found, name)
    return text if text.isdecimal() else ""


def _text(found: pydicom.Dataset, name: str) -> str:
    return str(found.get(name) or "").strip()
