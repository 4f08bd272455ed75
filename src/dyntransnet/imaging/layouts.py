"""Datasets as their authors lay them out on disk, as one list of cases."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dyntransnet.errors import DatasetError
from dyntransnet.imaging.phantom.recipes import make_phantom, read_recipes
from dyntransnet.imaging.scan import Mask, Scan, case_id_of, read_mask, read_scan


@dataclass(frozen=True)
class Case:
    """One scan with its mask, not yet read.

    Attributes:
        id: unique in the dataset.
        patient: equal for all scans of one person.
        load: reads or makes both; raises ScanError.
    """

    id: str
    patient: str
    load: Callable[[], tuple[Scan, Mask]]


def find_cases(source: Path, layout: str) -> list[Case]:
    """List a dataset's cases.

    Args:
        source: a folder, or the phantoms' recipe file.
        layout: a key of ``LAYOUTS``.

    Raises:
        DatasetError: nothing is found, or scans and masks do not pair up.
    """
    return LAYOUTS[layout](source)


def _phantom_cases(source: Path) -> list[Case]:
    return [
        Case(f"volume-{recipe.number}", recipe.patient, partial(make_phantom, recipe))
        for recipe in read_recipes(source)
    ]


def _lits_cases(source: Path) -> list[Case]:
    """LiTS: ``volume-N.nii[.gz]`` beside ``segmentation-N.nii[.gz]``, in any subfolder."""
    problems: list[str] = []
    scans, masks = (_by_number(source, kind, problems) for kind in ("volume-", "segmentation-"))
    problems += [
        f"volume-{n}: must have a segmentation-{n}, got none" for n in scans.keys() - masks.keys()
    ]
    problems += [
        f"segmentation-{n}: must have a volume-{n}, got none" for n in masks.keys() - scans.keys()
    ]
    if not scans and not masks:
        problems = [f"{source.name}: must hold volume-N.nii or volume-N.nii.gz files, got none"]
    if problems:
        raise DatasetError(source, sorted(problems))
    numbers = sorted(scans, key=lambda number: (len(number), number))
    return [Case(f"volume-{n}", f"volume-{n}", partial(_read, scans[n], masks[n])) for n in numbers]


def _by_number(source: Path, prefix: str, problems: list[str]) -> dict[str, Path]:
    """Number to file; a number that stands twice becomes a problem."""
    found: dict[str, Path] = {}
    paths = [path for suffix in (".nii", ".nii.gz") for path in source.rglob(f"{prefix}*{suffix}")]
    for path in sorted(paths):
        first = found.setdefault(case_id_of(path).removeprefix(prefix), path)
        if first != path:
            both = f"{first.relative_to(source)} and {path.relative_to(source)}"
            problems.append(f"{case_id_of(path)}: must stand once, got {both}")
    return found


def _read(scan: Path, mask: Path) -> tuple[Scan, Mask]:
    return read_scan(scan), read_mask(mask)


LAYOUTS: dict[str, Callable[[Path], list[Case]]] = {"phantom": _phantom_cases, "lits": _lits_cases}
