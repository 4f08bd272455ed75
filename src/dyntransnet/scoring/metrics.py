"""How well a mask agrees with the truth, case by case and over many cases.

Where a value has no meaning it is NaN, and is counted instead of averaged: a case
with no tumor in truth and prediction never lifts a mean.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dyntransnet.imaging.scan import Mask, spacing_of
from dyntransnet.scoring.cropping import crop_to_both
from dyntransnet.scoring.detection import FoundLesion, match_lesions
from dyntransnet.scoring.overlap import CLASSES, Row, dice, overlap, ratio
from dyntransnet.scoring.surfaces import SURFACE_SCORES, surface_scores

__all__ = ["CLASSES", "Row", "dice", "overlap", "score_case", "score_with_lesions", "summarize"]

SHARES = ("dice", "iou", "precision", "recall")


@dataclass(frozen=True)
class ScoredCase:
    """One case in numbers.

    Attributes:
        rows: class to what ``score_case`` gives.
        lesions: every lesion of truth and prediction.
    """

    rows: dict[str, Row]
    lesions: tuple[FoundLesion, ...]


def score_case(
    truth: Mask, predicted: Mask, nsd_mm: Mapping[str, float] | None = None
) -> dict[str, Row]:
    """Score one case, class by class.

    Args:
        truth: reference mask.
        predicted: mask under test, on the same grid.
        nsd_mm: per class the tolerance of the surface Dice; None leaves surfaces out.

    Returns:
        For "liver" and "tumor": ``dice``, ``iou``, ``precision``, ``recall``;
        ``truth_ml``, ``predicted_ml``, ``volume_error_ml`` = predicted - truth and
        ``absolute_volume_error_ml``; ``hd95_mm``, ``nsd``, ``assd_mm`` of
        ``surface_scores``; and the voxel counts ``both_voxels``, ``truth_voxels``,
        ``predicted_voxels``, ``same_label_voxels`` (both masks have just this label: of
        the liver, without tumors) and ``scan_voxels``. For "tumor" also what
        ``lesion_scores`` counts.

    Raises:
        ScanError: the masks lie on different grids.
    """
    return score_with_lesions(truth, predicted, nsd_mm).rows


def score_with_lesions(
    truth: Mask, predicted: Mask, nsd_mm: Mapping[str, float] | None = None
) -> ScoredCase:
    """As ``score_case``, and each lesion by itself.

    Raises:
        ScanError: the masks lie on different grids.
    """
    known, found = crop_to_both(truth.labels, predicted.labels)
    rows = {name: _score(known, found, name, truth) for name in CLASSES}
    for name, tolerance_mm in (nsd_mm or {}).items():
        inside = (known >= CLASSES[name], found >= CLASSES[name])
        rows[name] |= surface_scores(*inside, spacing_of(truth.affine), tolerance_mm=tolerance_mm)
    tumor = CLASSES["tumor"]
    matching = match_lesions(known >= tumor, found >= tumor)
    rows["tumor"] |= matching.counts()
    return ScoredCase(rows, tuple(matching.lesions(truth.voxel_ml)))


def summarize(cases: Sequence[Mapping[str, Row]]) -> dict[str, dict[str, float | int | None]]:
    """Average the scores of many cases, class by class.

    Args:
        cases: what ``score_case`` gave for each.

    Returns:
        Per class: mean ``dice``, ``iou``, ``precision``, ``recall`` over the cases where
        each is defined (None where it never is), ``dice_median``, ``dice_min``,
        ``volume_error_ml`` and ``absolute_volume_error_ml`` over all cases, and what
        ``count_empties`` counts. Where surfaces were scored, mean ``hd95_mm``, ``nsd``
        and ``assd_mm``, and ``no_surface``, the cases where these are not defined. For
        "tumor" ``lesion_recall``, ``lesion_precision`` and ``lesion_f1`` over the
        lesions of all cases, and ``false_lesions_per_case``.
    """
    return {name: _summary([case[name] for case in cases]) for name in CLASSES}


def count_empties(rows: Sequence[Row]) -> dict[str, int]:
    """How many cases of a class there are, and in how many a mask is empty.

    Args:
        rows: of one class, one for each case.

    Returns:
        ``cases``; ``scored`` (Dice defined); ``both_empty``; ``false_positive_cases``
        (truth empty, prediction not); ``missed_cases`` (prediction empty, truth not).
    """
    nothing = [(row["truth_voxels"] == 0, row["predicted_voxels"] == 0) for row in rows]
    both = nothing.count((True, True))
    return {
        "cases": len(rows),
        "scored": len(rows) - both,
        "both_empty": both,
        "false_positive_cases": nothing.count((True, False)),
        "missed_cases": nothing.count((False, True)),
    }


def _score(known: np.ndarray, found: np.ndarray, name: str, truth: Mask) -> Row:
    label, voxel_ml = CLASSES[name], truth.voxel_ml
    both, in_truth, in_predicted = overlap(known >= label, found >= label)
    same, *_ = overlap(known == label, found == label)
    error_ml = (in_predicted - in_truth) * voxel_ml
    return {
        "dice": ratio(2 * both, in_truth + in_predicted),
        "iou": ratio(both, in_truth + in_predicted - both),
        "precision": ratio(both, in_predicted),
        "recall": ratio(both, in_truth),
        "truth_ml": in_truth * voxel_ml,
        "predicted_ml": in_predicted * voxel_ml,
        "volume_error_ml": error_ml,
        "absolute_volume_error_ml": abs(error_ml),
        "both_voxels": both,
        "truth_voxels": in_truth,
        "predicted_voxels": in_predicted,
        "same_label_voxels": same,
        "scan_voxels": truth.labels.size,
    }


def _summary(rows: Sequence[Row]) -> dict[str, float | int | None]:
    dices = _defined(rows, "dice")
    errors = ("volume_error_ml", "absolute_volume_error_ml")
    return {
        **{name: _mean(_defined(rows, name)) for name in SHARES},
        "dice_median": float(np.median(dices)) if dices else None,
        "dice_min": min(dices, default=None),
        **{name: _mean(_defined(rows, name)) for name in errors},
        **count_empties(rows),
        **_surface_summary([row for row in rows if SURFACE_SCORES[0] in row]),
        **_lesion_summary([row for row in rows if "lesions_truth" in row]),
    }


def _surface_summary(rows: Sequence[Row]) -> dict[str, float | int | None]:
    if not rows:
        return {}
    means = {name: _mean(_defined(rows, name)) for name in SURFACE_SCORES}
    return {**means, "no_surface": len(rows) - len(_defined(rows, SURFACE_SCORES[0]))}


def _lesion_summary(rows: Sequence[Row]) -> dict[str, float | int | None]:
    if not rows:
        return {}
    truth, found, predicted, false = (
        sum(row[f"lesions_{name}"] for row in rows)
        for name in ("truth", "detected", "predicted", "false")
    )
    recall, precision = ratio(found, truth), ratio(predicted - false, predicted)
    return {
        "lesion_recall": _or_none(recall),
        "lesion_precision": _or_none(precision),
        "lesion_f1": _or_none(_harmonic_mean(recall, precision)),
        "false_lesions_per_case": false / len(rows),
    }


def _harmonic_mean(recall: float, precision: float) -> float:
    both = recall + precision
    return 0.0 if both == 0 else 2 * recall * precision / both


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _defined(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows if not math.isnan(row[name])]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
