"""Tables of the page: what stands in which cell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dyntransnet.imaging.fingerprint import Fingerprint
from dyntransnet.imaging.fingerprint import Spread as Range
from dyntransnet.scoring.calibration import Calibration
from dyntransnet.scoring.definitions import DEFINITIONS
from dyntransnet.scoring.lesions import VALUES
from dyntransnet.scoring.metrics import ScoredCase
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.records import CASE_COLUMNS
from dyntransnet.scoring.report.words import (
    digits_of,
    interval_of,
    name_of,
    range_of,
    shown,
)
from dyntransnet.scoring.scoretext import INTERVAL
from dyntransnet.scoring.summary import Spread, Summary

SORTED_COLUMNS = (*CASE_COLUMNS, "lesions_truth", "lesions_detected", "lesions_false")


@dataclass(frozen=True)
class Cell:
    """One value.

    Attributes:
        text: as it is shown.
        value: as it is sorted: a number, or the text where it is empty.
    """

    text: str
    value: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        cells: the first heads the row.
        kind: class of the masks that it is about, where there is one.
    """

    cells: Sequence[Cell]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what it says, in a sentence.
        heads: of its columns.
        rows: from the top.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Row]


def summary_table(name: str, scores: Mapping[str, Spread], nsd_mm: float) -> Table:
    """Every score of one class over all patients."""
    heads = ("Score", "Mean", INTERVAL, "SD", "Median", "Quartiles", "n", "Undefined")
    rows = []
    for key, spread in scores.items():
        digits = digits_of(key)
        rows.append([
            name_of(key, nsd_mm),
            shown(spread.mean, digits),
            range_of(spread.low, spread.high, digits),
            shown(spread.sd, digits),
            shown(spread.median, digits),
            range_of(spread.q1, spread.q3, digits),
            shown(spread.n),
            shown(spread.undefined),
        ])  # fmt: skip
    return _table(f"{name.capitalize()}: scores over patients", heads, rows, kind=name)


def counts_table(summary: Summary) -> Table:
    """Cases of each class, those with an empty mask apart."""
    heads = ("Class", *(name_of(key) for key in summary.counts["liver"]))
    rows = [[name, *map(shown, counts.values())] for name, counts in summary.counts.items()]
    return _table("Cases, and those in which a mask is empty", heads, rows)


def case_table(cases: Mapping[str, ScoredCase]) -> Table:
    """Every case, class by class."""
    rows = [
        Row(
            [Cell(case), Cell(name), *(_number(scored, name, key) for key in SORTED_COLUMNS)],
            kind=name,
        )
        for case, scored in cases.items()
        for name in CLASSES
    ]
    heads = ("Case", "Class", *map(name_of, SORTED_COLUMNS))
    return Table("Scores of every case; a dash stands where a score is not defined", heads, rows)


def lesion_table(summary: Summary) -> Table:
    """Detection, for all lesions and by size."""
    heads = ("Size", "In truth", "Found", "Predicted", "False", *map(name_of, VALUES))
    rows = []
    for size, one in summary.lesions.items():
        counts = (one.truth, one.detected, one.predicted, one.false)
        rows.append([
            name_of(size),
            *map(shown, counts),
            *(_with_interval(getattr(one, key), one.intervals, key) for key in VALUES),
        ])  # fmt: skip
    return _table("Lesions by diameter of the sphere of equal volume", heads, rows)


def definition_table(summary: Summary) -> Table:
    """Seven numbers that are all called Dice."""
    rows = [
        [name, shown(one.value), range_of(one.low, one.high), shown(one.n), DEFINITIONS[name]]
        for name, one in summary.definitions.items()
    ]
    return _table("Dice by definition", ("Name", "Value", INTERVAL, "n", "What it is"), rows)


def calibration_table(calibration: Mapping[str, Calibration]) -> Table:
    """Errors of the probabilities, class by class."""
    rows = [
        [
            name,
            _with_interval(one.ece, one.intervals, "ece", digits=4),
            _with_interval(one.brier, one.intervals, "brier", digits=4),
            shown(one.pooled.n),
            shown(one.cases),
            shown(one.patients),
        ]
        for name, one in calibration.items()
    ]
    heads = ("Class", name_of("ece"), name_of("brier"), "Voxels", "Cases", "Patients")
    return _table("Calibration of the probabilities", heads, rows)


def fingerprint_table(known: Fingerprint) -> Table:
    """How the dataset is spread."""
    spreads = {
        **_along("Spacing {}, mm", known.spacing_mm),
        **_along("Voxels along {}", known.shape),
        "Liver, ml": known.liver_ml,
        "Tumors of a case": known.tumors,
        "Tumor diameter, mm": known.tumor_mm,
    }
    rows = [
        [name, *(f"{value:g}" for value in spread.model_dump().values())]
        for name, spread in spreads.items()
        if spread is not None
    ]
    heads = ("Measure", "Lowest", "10 %", "Median", "90 %", "Highest")
    return _table("Geometry, livers and tumors", heads, rows)


def intensity_table(known: Fingerprint) -> Table:
    """Values inside livers."""
    unit = " (HU)" if known.modality == "CT" else ""
    heads = ("Where", "0.5 %", "Median", "99.5 %", "Mean", "SD")
    rows = [["In the liver", *(f"{value:g}" for value in known.foreground.model_dump().values())]]
    return _table(f"Voxel values{unit}", heads, rows)


def _along(name: str, spreads: tuple[Range, Range, Range] | None) -> dict[str, Range | None]:
    return (
        {}
        if spreads is None
        else {name.format(axis): spread for axis, spread in zip("xyz", spreads, strict=True)}
    )


def _table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = ""
) -> Table:
    return Table(caption, heads, [Row([Cell(text) for text in row], kind) for row in rows])


def _number(scored: ScoredCase, name: str, key: str) -> Cell:
    value = scored.rows[name].get(key, math.nan)
    text = shown(value, digits_of(key))
    return Cell(text, "" if math.isnan(value) else repr(float(value)))


def _with_interval(
    value: float | None,
    intervals: Mapping[str, tuple[float, float] | None],
    key: str,
    *,
    digits: int = 3,
) -> str:
    if intervals[key] is None:
        return shown(value, digits)
    return f"{shown(value, digits)} ({interval_of(intervals, key, digits)})"
