"""Lesions of many cases: how many were found, by their size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dyntransnet.scoring.detection import FoundLesion, Size
from dyntransnet.scoring.statistics import Resampling, pooled_intervals

ALL = "all"
VALUES = ("recall", "precision", "f1", "false_per_case", "dice_detected")

Lesions = Mapping[str, Sequence[FoundLesion]]
"""Case id to its lesions."""

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class LesionSummary:
    """The lesions of one size, or of all.

    Attributes:
        truth: how many there are.
        detected: how many of these were found.
        predicted: how many the prediction has.
        false: how many of these find nothing.
        cases: over which ``false_per_case`` is a mean.
        patients: whose these are; the unit of the intervals.
        matches: detected objects: lesions that one prediction joins are one, and count
            where the largest of them belongs.
        recall: detected / truth.
        precision: predicted lesions that find something / predicted.
        f1: harmonic mean of both.
        false_per_case: false / cases.
        dice_detected: mean Dice of the detected objects.
        intervals: of these five, by bootstrap over patients.
    """

    truth: int
    detected: int
    predicted: int
    false: int
    cases: int
    patients: int
    matches: int
    recall: float | None
    precision: float | None
    f1: float | None
    false_per_case: float | None
    dice_detected: float | None
    intervals: dict[str, Interval]


def summarize_lesions(
    cases: Lesions, patient_of: Mapping[str, str], how: Resampling
) -> dict[str, LesionSummary]:
    """Detection over all cases, for all lesions and by size.

    A lesion of the truth counts where its own diameter belongs, and so does a predicted
    one: recall is over the truth's lesions of a size, precision over the predicted ones.

    Args:
        cases: case id to its lesions, an empty list where it has none.
        patient_of: case id to patient.
        how: intervals are drawn.
    """
    chosen: dict[str, Size | None] = {ALL: None} | {size.value: size for size in Size}
    patients = sorted({patient_of[case] for case in cases})
    found = {}
    for name, size in chosen.items():
        sums = np.zeros((len(patients), len(_COLUMNS)))
        for case, lesions in cases.items():
            sums[patients.index(patient_of[case])] += _sums_of(lesions, size)
        found[name] = _summary(sums, how)
    return found


_COLUMNS = ("truth", "detected", "predicted", "false", "cases", "matches", "dices")


def _sums_of(lesions: Sequence[FoundLesion], size: Size | None) -> Float[np.ndarray, "7"]:
    chosen = [lesion for lesion in lesions if size in (None, lesion.size)]
    truth = [lesion for lesion in chosen if lesion.is_truth]
    predicted = [lesion for lesion in chosen if not lesion.is_truth]
    largest = _largest_of_matches(lesions)
    dices = [lesion.dice for lesion in largest if size in (None, lesion.size)]
    detected = sum(lesion.match is not None for lesion in truth)
    false = sum(lesion.match is None for lesion in predicted)
    counts = (len(truth), detected, len(predicted), false, 1, len(dices))
    return np.array([*counts, sum(dices)], float)


def _largest_of_matches(lesions: Sequence[FoundLesion]) -> list[FoundLesion]:
    """For each detected object its largest lesion of the truth."""
    largest: dict[int, FoundLesion] = {}
    for lesion in lesions:
        if lesion.is_truth and lesion.match is not None:
            known = largest.setdefault(lesion.match, lesion)
            if lesion.volume_ml > known.volume_ml:
                largest[lesion.match] = lesion
    return [*largest.values()]


def _summary(sums: np.ndarray, how: Resampling) -> LesionSummary:
    total = sums.sum(axis=0)
    truth, detected, predicted, false, cases, matches = (int(value) for value in total[:-1])
    (values,) = _values_of(total[None])
    recall, precision, f1, per_case, dice = (_defined(value) for value in values)
    return LesionSummary(
        truth=truth,
        detected=detected,
        predicted=predicted,
        false=false,
        cases=cases,
        patients=len(sums),
        matches=matches,
        recall=recall,
        precision=precision,
        f1=f1,
        false_per_case=per_case,
        dice_detected=dice,
        intervals=dict(zip(VALUES, pooled_intervals(sums, _values_of, how), strict=True)),
    )


def _values_of(sums: Float[np.ndarray, "draws 7"]) -> Float[np.ndarray, "draws 5"]:
    truth, detected, predicted, false, cases, matches, dices = sums.T
    recall, precision = _share(detected, truth), _share(predicted - false, predicted)
    f1 = _share(2 * recall * precision, recall + precision)
    f1 = np.where(recall + precision == 0, 0.0, f1)
    values = (recall, precision, f1, _share(false, cases), _share(dices, matches))
    return np.stack(values, axis=1)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
