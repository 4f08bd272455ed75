"""A set of scored cases in numbers, each with its spread, its interval and its n."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dyntransnet.scoring.definitions import MADE_OF, Case, dice_definitions, dice_sums, dices_from
from dyntransnet.scoring.lesions import LesionSummary, summarize_lesions
from dyntransnet.scoring.metrics import ScoredCase, count_empties
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.statistics import (
    Resampling,
    deviation,
    known_mean,
    mean_interval,
    per_patient,
    pooled_intervals,
)
from dyntransnet.scoring.surfaces import SURFACE_SCORES

SCORES = (
    "dice", "iou", "precision", "recall", "nsd", "hd95_mm", "assd_mm",
    "volume_error_ml", "absolute_volume_error_ml",
)  # fmt: skip

HOW = Resampling(draws=10_000, confidence=0.95, seed=0)


@dataclass(frozen=True)
class Spread:
    """One score of one class over patients; the cases of a patient are averaged first.

    Attributes:
        n: patients with a value.
        undefined: cases without one; they are part of no other number.
        mean: None where n is 0, as are the next six.
        sd: standard deviation (n - 1); None of one patient.
        median: the value in the middle.
        q1: the lower quartile.
        q3: the upper quartile.
        low: lower end of the interval of the mean; None for few patients.
        high: its upper end.
    """

    n: int
    undefined: int
    mean: float | None
    sd: float | None
    median: float | None
    q1: float | None
    q3: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Defined:
    """One definition of Dice.

    Attributes:
        value: None where no case defines it.
        n: cases that enter it; the fewer where it is a mean of classes.
        low: lower end of its interval; None for few patients.
        high: its upper end.
    """

    value: float | None
    n: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Summary:
    """All that is said of a set of cases.

    Attributes:
        patients: how many.
        counts: per class, what ``count_empties`` counts, and ``no_surface``.
        scores: per class and name of ``SCORES``.
        lesions: for "all" and each size.
        definitions: of Dice.
    """

    patients: int
    counts: dict[str, dict[str, int]]
    scores: dict[str, dict[str, Spread]]
    lesions: dict[str, LesionSummary]
    definitions: dict[str, Defined]


def summarize_cases(
    cases: Mapping[str, ScoredCase],
    patient_of: Mapping[str, str] | None = None,
    how: Resampling = HOW,
) -> Summary:
    """Summarize a set of cases.

    Args:
        cases: case id to its scores, surfaces included.
        patient_of: case id to patient; None takes each case for a patient of its own.
        how: intervals are drawn.
    """
    whose = {case: case for case in cases} if patient_of is None else patient_of
    rows = {name: {case: one.rows[name] for case, one in cases.items()} for name in CLASSES}
    return Summary(
        patients=len({whose[case] for case in cases}),
        counts={name: _counts([*of_class.values()]) for name, of_class in rows.items()},
        scores={
            name: {
                score: spread_of({c: float(row[score]) for c, row in of_class.items()}, whose, how)
                for score in SCORES
            }
            for name, of_class in rows.items()
        },
        lesions=summarize_lesions({c: one.lesions for c, one in cases.items()}, whose, how),
        definitions=_define({c: one.rows for c, one in cases.items()}, whose, how),
    )


def spread_of(
    values: Mapping[str, float], patient_of: Mapping[str, str], how: Resampling
) -> Spread:
    """Describe one score.

    Args:
        values: case id to value; NaN where not defined.
        patient_of: case id to patient.
        how: the interval is drawn.
    """
    averaged = [*per_patient([values], patient_of).values()]
    known = np.array([value for value in averaged if not math.isnan(value)], float)
    low, high = mean_interval(known, how) or (None, None)
    q1, median, q3 = np.quantile(known, (0.25, 0.5, 0.75)).tolist() if len(known) else [None] * 3
    return Spread(
        n=len(known),
        undefined=sum(math.isnan(value) for value in values.values()),
        mean=known_mean(averaged) if len(known) else None,
        sd=deviation(averaged),
        median=median,
        q1=q1,
        q3=q3,
        low=low,
        high=high,
    )


def _counts(rows: Sequence[Mapping[str, float | int]]) -> dict[str, int]:
    surfaces = [row[SURFACE_SCORES[0]] for row in rows]
    return {
        **count_empties([{**row} for row in rows]),
        "no_surface": sum(map(math.isnan, surfaces)),
    }


def _define(
    cases: Mapping[str, Case], patient_of: Mapping[str, str], how: Resampling
) -> dict[str, Defined]:
    sums = {case: dice_sums(rows) for case, rows in cases.items()}
    patients = sorted({patient_of[case] for case in cases})
    pooled = np.zeros((len(patients), 6, 2))
    for case, own in sums.items():
        pooled[patients.index(patient_of[case])] += own
    entering = np.count_nonzero([own[:, 1] for own in sums.values()], axis=0)
    values = dice_definitions([*cases.values()])
    found = {}
    for name, ends in zip(MADE_OF, pooled_intervals(pooled, dices_from, how), strict=True):
        low, high = ends or (None, None)
        n = min(int(entering[part]) for part in MADE_OF[name])
        found[name] = Defined(values[name], n, low, high)
    return found
