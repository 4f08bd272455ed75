"""What of a series goes on into the files that are written about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydicom import Dataset

from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.files import read_tags, refusing_damage
from dyntransnet.imaging.dicom.headers import Header
from dyntransnet.imaging.scan import Scan

REFERENCED = ("SOPClassUID", "SOPInstanceUID")

NEEDED = (*REFERENCED, "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
"""Without these nothing can refer to a slice."""

GEOMETRY = (
    "Modality",
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PositionReferenceIndicator",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)

KEPT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "OtherPatientIDsSequence",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "ProcedureCodeSequence",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
)
"""Patient and study, as the first slice has them: an archive files results by them."""


@dataclass(frozen=True)
class Source:
    """A series as what is written about it needs it.

    Attributes:
        slices: references and geometry, in the order of the scan's last axis.
        identity: patient and study; goes into DICOM files only.
    """

    slices: Sequence[Dataset] = field(repr=False)
    identity: Dataset = field(repr=False)


@dataclass(frozen=True)
class SeriesScan(Scan):
    """A scan that can be answered in DICOM.

    Attributes:
        source: of its series.
    """

    source: Source = field(repr=False)


def read_source(slices: Sequence[Header], case: str) -> Source:
    """Read what results of a series need of it.

    Args:
        slices: in order.
        case: what messages call it.

    Raises:
        ScanError: a slice is damaged or cannot be referred to, or they are of several patients,
            studies or worlds.
    """
    _check_one("patient", {header.person for header in slices}, case)
    _check_one("study", {header.study for header in slices}, case)
    _check_one("frame of reference", {header.frame_of_reference for header in slices}, case)
    with refusing_damage(case):
        found = [read_tags(header.path, (*NEEDED, *GEOMETRY)) for header in slices]
        identity = read_tags(slices[0].path, KEPT)
        names = [[str(one.get(name) or "") for name in NEEDED] for one in found]
    if unnamed := sum(not all(one) for one in names):
        raise ScanError(
            f"{case}: each slice must have {', '.join(NEEDED)} for DICOM results, got {unnamed} "
            "without (NIfTI needs none: --output x.nii.gz)",
            code="unusable",
        )
    if (count := len({instance for _, instance, *_ in names})) != len(slices):
        raise ScanError(
            f"{case}: each slice must have a SOPInstanceUID of its own, got {count} for "
            f"{len(slices)} slices"
        )
    return Source(found, identity)


def _check_one(what: str, found: set[str], case: str) -> None:
    if len(found) > 1:
        raise ScanError(f"{case}: slices must be of one {what}, got {len(found)}")
