"""Every series of a folder tree or a zip."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dyntransnet.contract import Modality
from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.files import dicom_files
from dyntransnet.imaging.dicom.headers import Header, read_header
from dyntransnet.imaging.dicom.series import (
    IMAGES,
    MIN_SLICES,
    grouped,
    is_volume,
    outline_of,
    read_series,
    stack,
)
from dyntransnet.imaging.layouts.case import content_id
from dyntransnet.imaging.pacs.archive import opened
from dyntransnet.imaging.pacs.silence import silence
from dyntransnet.imaging.pacs.source import SeriesScan, read_source
from dyntransnet.imaging.scan import Scan


@dataclass(frozen=True)
class Series:
    """A series that was found, not yet read.

    Attributes:
        id: after the content of its first slice, as ``ingest`` names cases.
        origin: the folder or zip it lies in.
        headers: of its slices; their paths are relative to the folder.
        shape: columns, rows, slices.
    """

    id: str
    origin: Path = field(repr=False)
    headers: Sequence[Header] = field(repr=False)
    shape: tuple[int, int, int]

    def read(self, *, for_dicom: bool) -> Scan:
        """Read the scan.

        Args:
            for_dicom: whether results are to be DICOM: the scan is a ``SeriesScan`` then.

        Raises:
            ScanError: as ``read_series``; for DICOM also as ``read_source``; or the files have
                changed since they were found.
        """
        with opened(self.origin) as folder:
            slices = [replace(one, path=folder / one.path) for one in self.headers]
            if not all(one.path.is_file() for one in slices) or _id_of(slices) != self.id:
                raise ScanError(f"{self.id}: files must stay as they were found, got others")
            if not for_dicom:
                return read_series(slices, self.id)
            ordered, _ = stack(slices, self.id)
            source = read_source(ordered, self.id)
            scan = read_series(ordered, self.id)
        return SeriesScan(scan.id, scan.voxels, scan.affine, source)

    def holds(self, path: Path) -> bool:
        """Whether an existing file is one of those that are read."""
        if self.origin.is_file():
            return path.samefile(self.origin)
        files = (self.origin / header.path for header in self.headers)
        return any(file.is_file() and path.samefile(file) for file in files)


def find_series(origin: Path, modality: Modality) -> list[Series]:
    """List the series of one modality.

    Overviews, single slices, hidden files and what is no image are passed over.

    Args:
        origin: a folder, looked through at any depth, or a zip.
        modality: of the series.

    Raises:
        ScanError: a file is damaged, or no series is found.
    """
    silence()
    with opened(origin) as folder:
        files = [path for path in dicom_files(folder) if not path.name.startswith(".")]
        headers = [
            read_header(path, f"{origin}: DICOM file {place} of {len(files)}")
            for place, path in enumerate(files, start=1)
        ]
        groups = [group for group in grouped(headers, str(origin)) if is_volume(group)]
        wanted = [group for group in groups if group[0].modality == modality]
        if not wanted:
            shown = " and ".join(sorted(map(outline_of, groups)))
            raise ScanError(
                f"{origin}: must hold a {modality} series of at least {MIN_SLICES} slices "
                f"(--modality takes {' or '.join(IMAGES)}), got {shown or 'none'}",
                code="series-not-one",
            )
        return [_series(origin, folder, group) for group in wanted]


def _series(origin: Path, folder: Path, group: Sequence[Header]) -> Series:
    plane = group[0].plane
    return Series(
        _id_of(group),
        origin,
        [replace(one, path=one.path.relative_to(folder)) for one in group],
        (plane.columns if plane else 1, plane.rows if plane else 1, len(group)),
    )


def _id_of(group: Sequence[Header]) -> str:
    """A series that cannot be put in order is named after any slice; reading it says why."""
    try:
        slices, _ = stack(group, "")
    except ScanError:
        slices = list(group)
    return content_id(slices[0].path)
