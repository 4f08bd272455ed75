"""How well a mask agrees with the truth, case by case and over many cases.

Where a value has no meaning it is NaN, and is counted instead of averaged: a case
with no tumor in truth and prediction never lifts a mean.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dyntransnet.imaging.scan import Mask, spacing_of
from dyntransnet.scoring.detection import lesion_scores
from dyntransnet.scoring.overlap import CLASSES, Row, dice, overlap, ratio
from dyntransnet.scoring.surfaces import SURFACE_SCORES, surface_scores

__all__ = ["CLASSES", "Row", "dice", "overlap", "score_case", "summarize"]


def score_case(
    truth: Mask, predicted: Mask, nsd_mm: Mapping[str, float] | None = None
) -> dict[str, Row]:
    """Score one case, class by class.

    Args:
        truth: reference mask.
        predicted: mask under test, on the same grid.
        nsd_mm: per class the tolerance of the surface Dice; None leaves surfaces out,
            which take seconds on a large scan.

    Returns:
        For "liver" and "tumor": ``dice``, ``precision``, ``recall``; ``truth_ml``,
        ``predicted_ml``, ``volume_error_ml`` = predicted - truth; ``hd95_mm``, ``nsd``,
        ``assd_mm`` of ``surface_scores``; and the voxel counts ``both_voxels``,
        ``truth_voxels``, ``predicted_voxels``, ``same_label_voxels`` (both masks have
        just this label: of the liver, without tumors) and ``scan_voxels``. For "tumor"
        also what ``lesion_scores`` counts.

    Raises:
        ScanError: the masks lie on different grids.
    """
    rows = {name: _score(truth, predicted, name) for name in CLASSES}
    for name, tolerance_mm in (nsd_mm or {}).items():
        rows[name] |= surface_scores(
            truth.labels >= CLASSES[name],
            predicted.labels >= CLASSES[name],
            spacing_of(truth.affine),
            tolerance_mm=tolerance_mm,
        )
    tumor = CLASSES["tumor"]
    rows["tumor"] |= lesion_scores(truth.labels >= tumor, predicted.labels >= tumor)
    return rows


def summarize(cases: Sequence[Mapping[str, Row]]) -> dict[str, dict[str, float | int | None]]:
    """Average the scores of many cases, class by class.

    Args:
        cases: what ``score_case`` gave for each.

    Returns:
        Per class: mean ``dice``, ``precision``, ``recall`` over the cases where each
        is defined (None where it never is), ``dice_median``, ``dice_min``,
        ``volume_error_ml`` and ``absolute_volume_error_ml`` over all cases, and the
        counts ``cases``, ``scored`` (Dice defined), ``both_empty`` and
        ``false_positive_cases`` (truth empty, prediction not). Where surfaces were
        scored, mean ``hd95_mm``, ``nsd`` and ``assd_mm``, and ``no_surface``, the cases
        where these are not defined.
    """
    return {name: _summary([case[name] for case in cases]) for name in CLASSES}


def _score(truth: Mask, predicted: Mask, name: str) -> Row:
    label, voxel_ml = CLASSES[name], truth.voxel_ml
    both, in_truth, in_predicted = overlap(truth.labels >= label, predicted.labels >= label)
    same, *_ = overlap(truth.labels == label, predicted.labels == label)
    return {
        "dice": ratio(2 * both, in_truth + in_predicted),
        "precision": ratio(both, in_predicted),
        "recall": ratio(both, in_truth),
        "truth_ml": in_truth * voxel_ml,
        "predicted_ml": in_predicted * voxel_ml,
        "volume_error_ml": (in_predicted - in_truth) * voxel_ml,
        "both_voxels": both,
        "truth_voxels": in_truth,
        "predicted_voxels": in_predicted,
        "same_label_voxels": same,
        "scan_voxels": truth.labels.size,
    }


def _summary(rows: Sequence[Row]) -> dict[str, float | int | None]:
    dices = _defined(rows, "dice")
    errors = [row["volume_error_ml"] for row in rows]
    return {
        **{name: _mean(_defined(rows, name)) for name in ("dice", "precision", "recall")},
        "dice_median": float(np.median(dices)) if dices else None,
        "dice_min": min(dices, default=None),
        "volume_error_ml": _mean(errors),
        "absolute_volume_error_ml": _mean([abs(error) for error in errors]),
        "cases": len(rows),
        "scored": len(dices),
        "both_empty": len(rows) - len(dices),
        "false_positive_cases": sum(row["truth_ml"] == 0 < row["predicted_ml"] for row in rows),
        **_surface_summary([row for row in rows if SURFACE_SCORES[0] in row]),
    }


def _surface_summary(rows: Sequence[Row]) -> dict[str, float | int | None]:
    if not rows:
        return {}
    means = {name: _mean(_defined(rows, name)) for name in SURFACE_SCORES}
    return {**means, "no_surface": len(rows) - len(_defined(rows, SURFACE_SCORES[0]))}


def _defined(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows if not math.isnan(row[name])]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
