"""Many scored trainings as one study: what each variant reached, and against which other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from dyntransnet.scoring.definitions import DEFINITIONS, dice_definitions
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.statistics import (
    Paired,
    Resampling,
    compare_paired,
    correct,
    deviation,
    known_mean,
    mean_interval,
    per_patient,
)
from dyntransnet.scoring.study.trainings import Training

SCORES = ("dice", "precision", "recall", "hd95_mm", "nsd")


@dataclass(frozen=True)
class Cell:
    """One score of one class under one variant.

    Attributes:
        mean: over patients; None where no patient has it.
        sd: over patients.
        low: lower end of the confidence interval of the mean; None for few patients.
        high: its upper end.
        n: patients with a value.
        undefined: scores of single cases and trainings that are not defined; they are
            part of no mean.
        seeds: how many.
        seed_sd: of the means over patients of each seed; None of one seed.
        against: the test against the baseline; None in its own row.
    """

    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int
    seeds: int
    seed_sd: float | None
    against: Paired | None


Cells = dict[str, dict[str, Cell]]
"""Class to score to cell: one row of a table."""


def compare_variants(
    trainings: Sequence[Training],
    variants: Sequence[str],
    baseline: str,
    patient_of: Mapping[str, str],
    how: Resampling,
) -> dict[str, Cells]:
    """Fill one table.

    Args:
        trainings: of these variants and others, all scored on the same cases.
        variants: its rows.
        baseline: the row that the others are tested against.
        patient_of: case id to patient.
        how: of the confidence intervals.

    Returns:
        Variant to its row. Holm's correction is over the rows, for each class and score
        by itself.
    """
    rows: dict[str, Cells] = {variant: {name: {} for name in CLASSES} for variant in variants}
    for name, score in product(CLASSES, SCORES):
        values = {
            variant: per_patient(_columns(_of(trainings, variant), name, score), patient_of)
            for variant in variants
        }
        against = _against(values, baseline)
        for variant in variants:
            rows[variant][name][score] = _cell(
                values[variant],
                _columns(_of(trainings, variant), name, score),
                _seed_means(_of(trainings, variant), name, score, patient_of),
                against.get(variant),
                how,
            )
    return rows


def define_dice(
    trainings: Sequence[Training], variant: str
) -> dict[str, tuple[float | None, float | None]]:
    """Every definition of Dice for one variant: mean and deviation over its seeds.

    Within a seed all cases of all folds count alike, whoever's they are, as in the
    literature that these numbers are held against.
    """
    runs = _of(trainings, variant)
    by_seed = [
        dice_definitions([case for run in runs if run.seed == seed for case in run.scores.values()])
        for seed in _seeds(runs)
    ]
    found: dict[str, tuple[float | None, float | None]] = {}
    for name in DEFINITIONS:
        values = [math.nan if (value := one[name]) is None else value for one in by_seed]
        found[name] = (_or_none(known_mean(values)), deviation(values))
    return found


def median_case(trainings: Sequence[Training]) -> str:
    """The case to show of a variant, neither its best nor its worst.

    Returns:
        The case with the median Dice of tumors, averaged over the trainings; of the
        liver where no case has that of tumors, and where none has either the first. The
        lower of the two in the middle of an even number.
    """
    cases = sorted({case for run in trainings for case in run.scores})
    for name in ("tumor", "liver"):
        columns = _columns(trainings, name, "dice")
        means = {case: known_mean([c[case] for c in columns if case in c]) for case in cases}
        ranked = sorted((value, case) for case, value in means.items() if not math.isnan(value))
        if ranked:
            return ranked[(len(ranked) - 1) // 2][1]
    return cases[0]


def _of(trainings: Sequence[Training], variant: str) -> list[Training]:
    return [run for run in trainings if run.variant == variant]


def _seeds(runs: Sequence[Training]) -> list[int]:
    return sorted({run.seed for run in runs})


def _columns(runs: Sequence[Training], name: str, score: str) -> list[dict[str, float]]:
    return [{case: row[name][score] for case, row in run.scores.items()} for run in runs]


def _against(values: Mapping[str, Mapping[str, float]], baseline: str) -> dict[str, Paired]:
    """The tests of all rows but the baseline's, corrected together."""
    others = [variant for variant in values if variant != baseline]
    tests = [compare_paired(values[variant], values[baseline]) for variant in others]
    return dict(zip(others, correct(tests), strict=True))


def _seed_means(
    runs: Sequence[Training], name: str, score: str, patient_of: Mapping[str, str]
) -> list[float]:
    """For each seed the mean over patients."""
    by_seed = ([run for run in runs if run.seed == seed] for seed in _seeds(runs))
    columns = (_columns(one, name, score) for one in by_seed)
    return [known_mean([*per_patient(one, patient_of).values()]) for one in columns]


def _cell(
    values: Mapping[str, float],
    columns: Sequence[Mapping[str, float]],
    seed_means: Sequence[float],
    against: Paired | None,
    how: Resampling,
) -> Cell:
    known = np.array([value for value in values.values() if not math.isnan(value)], float)
    low, high = mean_interval(known, how) or (None, None)
    return Cell(
        mean=_or_none(known_mean([*values.values()])),
        sd=deviation([*values.values()]),
        low=low,
        high=high,
        n=len(known),
        undefined=sum(math.isnan(value) for column in columns for value in column.values()),
        seeds=len(seed_means),
        seed_sd=deviation(seed_means),
        against=against,
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
