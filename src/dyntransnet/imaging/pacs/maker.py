"""Who made a result, and what every DICOM file of it has in common."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

from pydicom import Dataset

from dyntransnet.atomic import new_file
from dyntransnet.errors import OutputError
from dyntransnet.imaging.dicom.files import DAMAGE
from dyntransnet.imaging.pacs.silence import silence
from dyntransnet.imaging.pacs.source import KEPT, Source

NAME = "dyntransnet"

BLANK = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Must stand in every file, empty where the source has none."""


@dataclass(frozen=True)
class Maker:
    """The model that segmented a scan.

    Attributes:
        network: its name.
        model_sha256: of its weights.
    """

    network: str
    model_sha256: str

    @classmethod
    def of(cls, report: dict[str, Any]) -> "Maker":
        """Whoever a segmentation's report names."""
        return cls(str(report["network"]), str(report["model_sha256"]))

    @property
    def version(self) -> str:
        """Of this package."""
        return metadata.version(NAME)

    @property
    def device_uid(self) -> str:
        """The same for the same weights, wherever they run."""
        return f"2.25.{uuid5(NAMESPACE_OID, f'{NAME}:{self.model_sha256}').int}"

    @property
    def equipment(self) -> dict[str, str]:
        """Equipment attributes, as highdicom's arguments."""
        return {
            "manufacturer": NAME,
            "manufacturer_model_name": self.network,
            "software_versions": self.version,
            "device_serial_number": self.model_sha256,
        }


def new_uid() -> str:
    """A UID that no one else has."""
    return f"2.25.{uuid4().int}"


def load_highdicom() -> ModuleType:
    """The package highdicom, which takes seconds to import, kept from logging.

    Raises:
        OutputError: it is not installed.
    """
    try:
        import highdicom.coding_schemes
        import highdicom.seg
        import highdicom.sr
    except ImportError as error:
        raise OutputError(
            f"highdicom must be installed for DICOM results (pip install 'dyntransnet[client]'; "
            f"NIfTI needs none: --output x.nii.gz), got {error}"
        ) from error
    silence()
    return highdicom


def blank_slices(source: Source) -> list[Dataset]:
    """A source's slices as highdicom wants them: with nobody's name, which ``keep`` puts in."""
    blanks = []
    for one in source.slices:
        blank = Dataset()
        blank.update({element.tag: element for element in one})
        for name in BLANK:
            setattr(blank, name, None)
        blank.pop("SpecificCharacterSet", None)
        blanks.append(blank)
    return blanks


def keep(found: Dataset, source: Source) -> None:
    """Put the source's patient and study into a result."""
    names = source.identity.get("SpecificCharacterSet")
    if names:
        found.SpecificCharacterSet = names
    for name in KEPT:
        if name in source.identity:
            found[name] = source.identity[name]


@contextmanager
def telling(case: str) -> Iterator[None]:
    """Have what pydicom and highdicom say of a source's values become ours, without theirs.

    Args:
        case: what messages call it.

    Raises:
        OutputError: within the block they gave up; warnings are dropped.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError:
        raise  # the disk's, not a header's
    except DAMAGE as error:
        raise OutputError(
            f"{case}: headers must be fit for DICOM results, got {type(error).__name__} from one "
            "(NIfTI needs none: --output x.nii.gz)"
        ) from error


def save(found: Dataset, path: Path) -> None:
    """Write a file, whole or not at all.

    Raises:
        OutputError: the place cannot be written to.
    """
    with new_file(path) as partial:
        try:
            found.save_as(partial, enforce_file_format=True)
        except OSError as error:  # pydicom wraps it in a traceback of many lines
            raise _first_of(error) from error


def _first_of(error: OSError) -> OSError:
    """What the system said, below all that was said of it."""
    cause = error.__cause__
    return _first_of(cause) if isinstance(cause, OSError) else error
