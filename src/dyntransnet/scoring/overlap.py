"""What two masks have in common, counted in voxels.

"Liver" is the whole liver, tumors included (label >= 1), as in the LiTS scorer.
Where a value has no meaning it is NaN.
"""

import math

import numpy as np
from jaxtyping import Bool

from dyntransnet.contract import Label
from dyntransnet.errors import ScanError

CLASSES = {"liver": Label.LIVER, "tumor": Label.TUMOR}
"""Each class holds every label from its own upward."""

Row = dict[str, float | int]
"""Name of a score to its value; counts are whole numbers."""

Masks = Bool[np.ndarray, "..."]
Box = tuple[slice, slice, slice]


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
    return ratio(2 * both, in_truth + in_predicted)


def overlap(truth: Masks, predicted: Masks) -> tuple[int, int, int]:
    """Voxels in both masks, in the truth, in the prediction.

    Raises:
        ScanError: the masks lie on different grids.
    """
    check_one_grid(truth, predicted)
    shared = np.count_nonzero(truth & predicted)
    return shared, np.count_nonzero(truth), np.count_nonzero(predicted)


def check_one_grid(truth: np.ndarray, predicted: np.ndarray) -> None:
    """Make sure that two masks have voxels in the same places.

    Raises:
        ScanError: they lie on different grids.
    """
    if truth.shape != predicted.shape:
        raise ScanError(f"masks must lie on one grid, got {truth.shape} and {predicted.shape}")


def ratio(part: float | int, whole: float | int) -> float:
    """A share; NaN of nothing."""
    return part / whole if whole else math.nan


def box_of(inside: Bool[np.ndarray, "x y z"]) -> Box:
    """The smallest box that holds all of a mask that is not empty."""
    x, y, z = (np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    return slice(x[0], x[-1] + 1), slice(y[0], y[-1] + 1), slice(z[0], z[-1] + 1)
