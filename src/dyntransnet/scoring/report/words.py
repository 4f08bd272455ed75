"""Scores as a reader meets them: their names, units and digits."""

import math
from collections.abc import Mapping

from dyntransnet.contract import IntensityRule, IntensityWindow

NOTHING = "\N{EN DASH}"

NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "precision": "Precision",
    "recall": "Recall",
    "nsd": "NSD",
    "hd95_mm": "HD95, mm",
    "assd_mm": "ASSD, mm",
    "truth_ml": "Truth, ml",
    "predicted_ml": "Predicted, ml",
    "volume_error_ml": "Volume error, ml",
    "absolute_volume_error_ml": "Absolute volume error, ml",
    "lesions_truth": "Lesions",
    "lesions_detected": "Found",
    "lesions_false": "False",
    "f1": "F1",
    "false_per_case": "False per case",
    "dice_detected": "Dice of found ones",
    "ece": "ECE",
    "brier": "Brier score",
    "all": "All",
    "below_10_mm": "Below 10 mm",
    "10_to_20_mm": "10 to 20 mm",
    "above_20_mm": "Above 20 mm",
}
SHARES = ("dice", "iou", "precision", "recall", "nsd")
"""They lie in [0, 1]."""


def name_of(key: str, nsd_mm: float | None = None) -> str:
    """A score's name.

    Args:
        key: as files have it.
        nsd_mm: tolerance of the surface Dice, where it is one and belongs to the name.
    """
    name = NAMES.get(key, key.replace("_", " ").capitalize())
    return f"{name} at {nsd_mm:g} mm" if key == "nsd" and nsd_mm is not None else name


def digits_of(key: str) -> int:
    """How many digits after the point make sense."""
    return {"mm": 2, "ml": 1}.get(key.rpartition("_")[2], 3)


def shown(value: float | int | None, digits: int = 3) -> str:
    """A number; a dash where it is not defined."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def range_of(low: float | None, high: float | None, digits: int = 3) -> str:
    """From here to there; a dash where neither is known."""
    if low is None or high is None:
        return NOTHING
    return f"{shown(low, digits)} to {shown(high, digits)}"


def interval_of(
    intervals: Mapping[str, tuple[float, float] | None], key: str, digits: int = 3
) -> str:
    """One of several intervals."""
    low, high = intervals[key] or (None, None)
    return range_of(low, high, digits)


def rule_of(rule: IntensityRule) -> str:
    """How voxel values become network input."""
    if isinstance(rule, IntensityWindow):
        return f"window of {rule.low_hu:g} to {rule.high_hu:g} HU"
    low, high = rule.percentiles
    return f"z-score of the body, clipped to its percentiles {low:g} to {high:g}"
