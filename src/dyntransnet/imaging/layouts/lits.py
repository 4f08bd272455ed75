"""LiTS: ``volume-N.nii[.gz]`` beside ``segmentation-N.nii[.gz]``, in any subfolder."""

from functools import partial
from pathlib import Path

from dyntransnet.contract import Modality
from dyntransnet.errors import DatasetError
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts.case import Case
from dyntransnet.imaging.scan import Mask, Scan, case_id_of, read_mask, read_scan

HOLDS = "volume-N.nii or volume-N.nii.gz files"
SCAN, MASK = "volume-", "segmentation-"


def fits(source: Path) -> bool:
    """Whether there is any scan or mask of that name."""
    return any(next(source.rglob(f"{prefix}*.nii*"), None) for prefix in (SCAN, MASK))


def find(source: Path, _modality: Modality, numbering: Numbering) -> list[Case]:
    """List the cases; each is a patient of its own.

    Raises:
        DatasetError: nothing is found, or scans and masks do not pair up.
    """
    problems: list[str] = []
    scans, masks = (_by_number(source, kind, problems) for kind in (SCAN, MASK))
    problems += [
        f"volume-{n}: must have a segmentation-{n}, got none" for n in scans.keys() - masks.keys()
    ]
    problems += [
        f"segmentation-{n}: must have a volume-{n}, got none" for n in masks.keys() - scans.keys()
    ]
    if not scans and not masks:
        problems = [f"{source.name}: must hold {HOLDS}, got none"]
    if problems:
        raise DatasetError(source, sorted(problems), code="layout")
    return [
        Case(
            f"volume-{n}",
            f"volume-{n}",
            "CT",
            partial(_read, scans[n], masks[n], numbering),
            scans[n],
        )
        for n in sorted(scans, key=lambda number: (len(number), number))
    ]


def _by_number(source: Path, prefix: str, problems: list[str]) -> dict[str, Path]:
    """Number to file; a number that stands twice becomes a problem."""
    found: dict[str, Path] = {}
    for path in _named(source, prefix):
        first = found.setdefault(case_id_of(path).removeprefix(prefix), path)
        if first != path:
            both = f"{first.relative_to(source)} and {path.relative_to(source)}"
            problems.append(f"{case_id_of(path)}: must stand once, got {both}")
    return found


def _named(source: Path, prefix: str) -> list[Path]:
    suffixes = (".nii", ".nii.gz")
    return sorted(path for end in suffixes for path in source.rglob(f"{prefix}*{end}"))


def _read(scan: Path, mask: Path, numbering: Numbering) -> tuple[Scan, Mask]:
    return read_scan(scan), read_mask(mask, numbering=numbering)
