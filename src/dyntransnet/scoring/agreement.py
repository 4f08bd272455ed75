"""How far what one runtime gives is from what another gives for the same input."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from dyntransnet.errors import ParityError
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.overlap import CLASSES, dice

TINY = 1e-12
"""In place of logits that are all 0."""

LEAST_VOXELS = 500
"""Of a class: where there are fewer, single voxels decide a Dice, and it is held to no limit."""

Logits = Float32[np.ndarray, "n classes x y z"]


def compare_windows(expected: Logits, found: np.ndarray) -> dict[str, Any]:
    """Logits of the same windows, and the masks that they stand for.

    Args:
        expected: of the reference.
        found: of the runtime under test.

    Returns:
        ``max_difference`` and ``mean_difference`` of the logits, and the former as a share
        of the largest expected one, ``relative_difference``; how many ``voxels`` there are,
        how many of them ``changed`` their class, and per class the ``dice`` between the
        masks, None where both are empty, and how many voxels the larger of both ``marked``.

    Raises:
        ParityError: the logits differ in shape.
    """
    if found.shape != expected.shape:
        raise ParityError(f"logits must be of shape {expected.shape}, got {found.shape}")
    difference = np.abs(expected - found)
    largest = float(difference.max())
    return {
        "max_difference": largest,
        "mean_difference": float(difference.mean()),
        "relative_difference": largest / max(float(np.abs(expected).max()), TINY),
        **_compare(_labels(expected), _labels(found)),
    }


def compare_masks(truth: Mask, reference: Mask, tested: Mask) -> dict[str, Any]:
    """Two masks of one scan, and what their difference means for its scores.

    Returns:
        ``voxels``, ``changed``, ``dice`` and ``marked`` as ``compare_windows`` does, and
        per class the ``truth`` in voxels and the ``dice_change``: Dice of the tested mask
        against the truth less that of the reference. Finding nothing where there is
        nothing counts as a Dice of 1.
    """
    changes = {
        name: _change(
            dice(truth.labels >= label, reference.labels >= label),
            dice(truth.labels >= label, tested.labels >= label),
        )
        for name, label in CLASSES.items()
    }
    sizes = {name: _count(truth.labels, label) for name, label in CLASSES.items()}
    return {
        **_compare(reference.labels, tested.labels),
        "dice_change": changes,
        "truth": sizes,
    }


def summarize_agreement(
    windows: Mapping[str, Any], scans: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """All that was seen of one runtime, with the numbers that limits are held against.

    Args:
        windows: what ``compare_windows`` gave.
        scans: case to what ``compare_masks`` gave.

    Returns:
        ``max_difference``, ``mean_difference`` and ``relative_difference``; ``dice_min``,
        the lowest Dice between two masks of a class; ``dice_change``, per class its mean
        over scans; the two arguments as ``windows`` and ``scans``. Masks of fewer than
        ``LEAST_VOXELS`` count for neither of the last two, and so may leave no value.
    """
    dices = [
        row["dice"][name]
        for row in (windows, *scans.values())
        for name in CLASSES
        if row["marked"][name] >= LEAST_VOXELS
    ]
    return {
        "max_difference": windows["max_difference"],
        "mean_difference": windows["mean_difference"],
        "relative_difference": windows["relative_difference"],
        "dice_min": min(dices, default=1.0),
        "dice_change": {
            name: _mean(
                row["dice_change"][name]
                for row in scans.values()
                if row["truth"][name] >= LEAST_VOXELS
            )
            for name in CLASSES
        },
        "windows": {name: windows[name] for name in ("voxels", "changed", "dice", "marked")},
        "scans": dict(scans),
    }


def _labels(logits: np.ndarray) -> UInt8[np.ndarray, "n x y z"]:
    """What each voxel is where the threshold is a half; what is tumor is liver."""
    liver, tumor = (logits[:, channel] >= 0 for channel in range(len(CLASSES)))
    return (liver | tumor).astype(np.uint8) + tumor


def _compare(
    reference: UInt8[np.ndarray, "..."], tested: UInt8[np.ndarray, "..."]
) -> dict[str, Any]:
    dices = {name: dice(reference >= label, tested >= label) for name, label in CLASSES.items()}
    return {
        "voxels": reference.size,
        "changed": int(np.count_nonzero(reference != tested)),
        "dice": {name: None if np.isnan(value) else value for name, value in dices.items()},
        "marked": {
            name: max(_count(reference, label), _count(tested, label))
            for name, label in CLASSES.items()
        },
    }


def _count(labels: UInt8[np.ndarray, "..."], label: int) -> int:
    return int(np.count_nonzero(labels >= label))


def _change(before: float, after: float) -> float | None:
    if np.isnan(before) and np.isnan(after):
        return None
    return float(np.nan_to_num(after, nan=1.0) - np.nan_to_num(before, nan=1.0))


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
