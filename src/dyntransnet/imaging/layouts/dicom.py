"""DICOM: a folder for each case, with one series and its mask: DICOM SEG, or one image file.

Cases are called after the content of their first slice. A person's scans are grouped by
PatientID, which is compared and forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dyntransnet.contract import Modality
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.dicom.files import dicom_files, is_dicom
from dyntransnet.imaging.dicom.headers import Header, read_header
from dyntransnet.imaging.dicom.segments import read_segments, referenced_series
from dyntransnet.imaging.dicom.series import choose_series, read_series, stack
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts.case import Case, content_id, is_image, refuse, turned_to
from dyntransnet.imaging.scan import Mask, Scan, read_mask

HOLDS = "a folder for each case with a DICOM series and its DICOM SEG or NIfTI mask"


@dataclass(frozen=True)
class Study:
    """What one folder holds.

    Attributes:
        slices: of the scan.
        segmentations: DICOM SEG files, or none where ``images`` has the mask.
        images: the mask as NIfTI, NRRD or MetaImage.
    """

    slices: Sequence[Header]
    segmentations: Sequence[Path]
    images: Sequence[Path]

    def load(self, numbering: Numbering, case: str) -> tuple[Scan, Mask]:
        """Read scan and mask.

        Raises:
            ScanError: one cannot be used.
        """
        scan = read_series(self.slices, case)
        if self.segmentations:
            world = self.slices[0].frame_of_reference
            return scan, read_segments(self.segmentations, scan, world, case)
        return scan, turned_to(read_mask(self.images[0], f"{case}, mask", numbering), scan)


def fits(source: Path) -> bool:
    """Whether any folder has a DICOM file."""
    files = (path for folder in _folders(source) for path in folder.rglob("*"))
    return any(is_dicom(path) for path in files if path.is_file())


def find(source: Path, modality: Modality, numbering: Numbering) -> list[Case]:
    """List the cases. One that cannot be used says why when it is loaded.

    Raises:
        DatasetError: no folder has a DICOM file.
    """
    folders = [(folder, files) for folder in _folders(source) if (files := dicom_files(folder))]
    if not folders:
        raise DatasetError(source.name, [f"must hold {HOLDS}, got none"], code="layout")
    cases, people = [], []
    for place, (folder, files) in enumerate(folders, start=1):
        case, person = _case(folder, files, f"folder {place}", modality, numbering)
        cases.append(case)
        people.append(person or case.id)
    return [
        replace(case, patient=_first(cases, people, who))
        for case, who in zip(cases, people, strict=True)
    ]


def _first(cases: Sequence[Case], people: Sequence[str], who: str) -> str:
    """The name of a person: that of the first of their cases."""
    return min(case.id for case, person in zip(cases, people, strict=True) if person == who)


def _folders(source: Path) -> list[Path]:
    if not source.is_dir():
        return []
    return sorted(path for path in source.iterdir() if path.is_dir() and path.name[0] not in "._")


def _case(
    folder: Path, files: Sequence[Path], place: str, modality: Modality, numbering: Numbering
) -> tuple[Case, str]:
    """A folder's case, and whose it is as far as the files tell."""
    try:
        study = _study(folder, files, place, modality)
    except ScanError as error:
        case = place.replace(" ", "-")
        return Case(case, case, modality, partial(refuse, str(error), error.code), folder), ""
    first = study.slices[0]
    case = content_id(first.path)
    return (
        Case(case, case, modality, partial(study.load, numbering, case), folder),
        first.person or first.study,
    )


def _study(folder: Path, files: Sequence[Path], place: str, modality: Modality) -> Study:
    headers = [read_header(path, place) for path in files]
    segmentations = [header.path for header in headers if header.modality == "SEG"]
    images = sorted(path for path in folder.rglob("*") if is_image(path))
    if len(images) > 1 or bool(images) == bool(segmentations):
        raise ScanError(
            f"{place}: must have one mask, as DICOM SEG or as an image file, got "
            f"{len(segmentations)} DICOM SEG and {len(images)} image file(s)",
            code="mask-not-one",
        )
    named = referenced_series(segmentations, place)
    slices, _ = stack(choose_series(headers, modality, named, place), place)
    return Study(slices, segmentations, images)
