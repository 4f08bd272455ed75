"""Which layout a dataset has."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dyntransnet.contract import Modality
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.labels import OURS, Numbering
from dyntransnet.imaging.layouts import atlas, dicom, lits, msd, plain
from dyntransnet.imaging.layouts.case import Case, FindsCases
from dyntransnet.imaging.phantom.recipes import make_phantom, read_recipes

AUTO = "auto"


@dataclass(frozen=True)
class Layout:
    """How a dataset lies on disk.

    Attributes:
        holds: what it is known by, in words.
        fits: whether a source has that; reads as little as it can.
        cases: lists the cases; raises ScanError.
    """

    holds: str
    fits: Callable[[Path], bool]
    cases: FindsCases


def find_cases(
    source: Path, layout: str, *, modality: Modality = "CT", numbering: Numbering = OURS
) -> list[Case]:
    """List a dataset's cases.

    Args:
        source: a folder, or the phantoms' recipe file.
        layout: a key of ``LAYOUTS``, or "auto" for the one that fits.
        modality: what the scans are; where files tell, they must agree.
        numbering: which values of the masks are liver and tumor.

    Raises:
        DatasetError: nothing is found, no layout or more than one fits, scans and masks do
            not pair up, or a scan is of another modality.
    """
    name = detect(source) if layout == AUTO else layout
    cases = LAYOUTS[name].cases(source, modality, numbering)
    count = Counter(case.id for case in cases)
    if twice := [f"{case}: must stand once, got {n} scans" for case, n in count.items() if n > 1]:
        raise DatasetError(source.name, twice, code="same-scan-twice")
    others = [
        f"{case.id}: must be {modality} (ingest.modality), got {case.modality}"
        for case in cases
        if case.modality != modality
    ]
    if others:
        raise DatasetError(source.name, others, code="modality-other")
    return cases


def detect(source: Path) -> str:
    """The layout that fits.

    Raises:
        ScanError: none does, or several do.
    """
    found = [name for name, layout in LAYOUTS.items() if layout.fits(source)]
    if len(found) > 1:
        raise ScanError(
            f"{source.name}: must have one layout, got {' and '.join(found)}: "
            "name one in ingest.layout",
            code="layout",
        )
    if not found:
        known = "; ".join(f"{name}: {layout.holds}" for name, layout in LAYOUTS.items())
        raise ScanError(
            f"{source.name}: must have a known layout ({known}), got none of them", code="layout"
        )
    return found[0]


def _phantom_cases(source: Path, _modality: Modality, _numbering: Numbering) -> list[Case]:
    return [
        Case(
            f"volume-{recipe.number}",
            recipe.patient,
            "CT",
            partial(make_phantom, recipe),
            source,
        )
        for recipe in read_recipes(source)
    ]


LAYOUTS = {
    "phantom": Layout(
        "a YAML file of recipes",
        lambda source: source.suffix in (".yaml", ".yml"),
        _phantom_cases,
    ),
    "lits": Layout(lits.HOLDS, lits.fits, lits.find),
    "msd": Layout(msd.HOLDS, msd.fits, msd.find),
    "atlas": Layout(atlas.HOLDS, atlas.fits, atlas.find),
    "plain": Layout(plain.HOLDS, plain.fits, plain.find),
    "dicom": Layout(dicom.HOLDS, dicom.fits, dicom.find),
}
"""In the order in which a message names them."""
