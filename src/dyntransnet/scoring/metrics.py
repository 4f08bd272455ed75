"""How well a mask agrees with the truth.

"Liver" is the whole liver, tumors included (label >= 1), as in the LiTS scorer.
Where a value has no meaning it is NaN, and is counted instead of averaged: a case
with no tumor in truth and prediction never lifts a mean.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from dyntransnet.contract import Label
from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import Mask

CLASSES = {"liver": Label.LIVER, "tumor": Label.TUMOR}
"""Each class holds every label from its own upward."""

Row = dict[str, float]
Masks = Bool[np.ndarray, "..."]


def dice(truth: Masks, predicted: Masks) -> float:
    """Dice coefficient, the share of voxels two masks have in common.

    Args:
        truth: reference mask.
        predicted: mask under test, on the same grid.

    Returns:
        2|A and B| / (|A| + |B|) in [0, 1]; NaN when both masks are empty.

    Raises:
        ScanError: the masks lie on different grids.

    Source:
        Dice, Ecology 26(3), 1945, https://doi.org/10.2307/1932409
    """
    both, in_truth, in_predicted = overlap(truth, predicted)
    return _ratio(2 * both, in_truth + in_predicted)


def overlap(truth: Masks, predicted: Masks) -> tuple[int, int, int]:
    """Voxels in both masks, in the truth, in the prediction.

    Raises:
        ScanError: the masks lie on different grids.
    """
    if truth.shape != predicted.shape:
        raise ScanError(f"masks must lie on one grid, got {truth.shape} and {predicted.shape}")
    return int((truth & predicted).sum()), int(truth.sum()), int(predicted.sum())


def score_case(truth: Mask, predicted: Mask) -> dict[str, Row]:
    """Score one case, class by class.

    Returns:
        For "liver" and "tumor": ``dice``, ``precision``, ``recall``; ``truth_ml``,
        ``predicted_ml``, and ``volume_error_ml`` = predicted - truth.

    Raises:
        ScanError: the masks lie on different grids.
    """
    return {
        name: _score(truth.labels >= label, predicted.labels >= label, truth.voxel_ml)
        for name, label in CLASSES.items()
    }


def summarize(cases: Sequence[Mapping[str, Row]]) -> dict[str, dict[str, float | int | None]]:
    """Average the scores of many cases, class by class.

    Args:
        cases: what ``score_case`` gave for each.

    Returns:
        Per class: mean ``dice``, ``precision``, ``recall`` over the cases where each
        is defined (None where it never is), ``dice_median``, ``dice_min``,
        ``volume_error_ml`` and ``absolute_volume_error_ml`` over all cases, and the
        counts ``cases``, ``scored`` (Dice defined), ``both_empty`` and
        ``false_positive_cases`` (truth empty, prediction not).
    """
    return {name: _summary([case[name] for case in cases]) for name in CLASSES}


def _score(truth: Masks, predicted: Masks, voxel_ml: float) -> Row:
    both, in_truth, in_predicted = overlap(truth, predicted)
    return {
        "dice": _ratio(2 * both, in_truth + in_predicted),
        "precision": _ratio(both, in_predicted),
        "recall": _ratio(both, in_truth),
        "truth_ml": in_truth * voxel_ml,
        "predicted_ml": in_predicted * voxel_ml,
        "volume_error_ml": (in_predicted - in_truth) * voxel_ml,
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
    }


def _defined(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows if not math.isnan(row[name])]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
