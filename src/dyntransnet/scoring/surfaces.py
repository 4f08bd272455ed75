"""How far apart the surfaces of two masks lie, in millimeters.

Surfaces are cut into pieces that count by their area; one implementation for all
distances, because tools differ by much more than methods do (Podobnik and Vrtovec,
https://arxiv.org/abs/2410.02630).
"""

import math

import numpy as np
from jaxtyping import Bool, Float

from dyntransnet.scoring.nearest import distances_mm
from dyntransnet.scoring.overlap import Row, box_of, check_one_grid
from dyntransnet.scoring.surfels import SpacingMm, surface_of

SURFACE_SCORES = ("hd95_mm", "nsd", "assd_mm")
QUANTILE = 0.95
ROUNDING_MM = 1e-4
"""Headers keep spacings as 32-bit floats: a distance of just the tolerance is within it."""

SHARE_ROUNDING = 1e-12
"""Areas that add up to just the quantile reach it, whatever order they are added in."""

Values = Float[np.ndarray, " n"]


def surface_scores(
    truth: Bool[np.ndarray, "_ _ _"],
    predicted: Bool[np.ndarray, "_ _ _"],
    spacing_mm: SpacingMm,
    *,
    tolerance_mm: float,
) -> Row:
    """Compare two surfaces.

    Args:
        truth: reference mask.
        predicted: mask under test, on the same grid.
        spacing_mm: voxel edges, in the order of the arrays' axes.
        tolerance_mm: distance up to which surfaces count as one.

    Returns:
        ``hd95_mm``, the larger of the 95th percentiles of the distances from either
        surface to the other; ``nsd``, the share of both surfaces that lies within the
        tolerance of the other, in [0, 1]; ``assd_mm``, the average distance over both
        surfaces, so that a large one counts for more than a small one. All are NaN where
        a mask is empty: it has no surface.

    Raises:
        ScanError: the masks lie on different grids.

    Source:
        Nikolov et al., J Med Internet Res 23(7), 2021, https://doi.org/10.2196/26151
    """
    check_one_grid(truth, predicted)
    if not (truth.any() and predicted.any()):
        return dict.fromkeys(SURFACE_SCORES, math.nan)
    box = box_of(truth | predicted)
    one, other = (surface_of(mask[box], spacing_mm) for mask in (truth, predicted))
    there = distances_mm(one.points, other.points, spacing_mm)
    back = distances_mm(other.points, one.points, spacing_mm)
    distances = np.concatenate([there, back])
    areas = np.concatenate([one.areas_mm2, other.areas_mm2])
    within = distances <= tolerance_mm + ROUNDING_MM
    return {
        "hd95_mm": max(_percentile(there, one.areas_mm2), _percentile(back, other.areas_mm2)),
        "nsd": float(areas[within].sum() / areas.sum()),
        "assd_mm": float(distances @ areas / areas.sum()),
    }


def _percentile(distances: Values, areas: Values) -> float:
    """The least distance that the quantile of the area does not exceed."""
    order = np.argsort(distances)
    reached = np.cumsum(areas[order])
    enough = np.searchsorted(reached, (QUANTILE - SHARE_ROUNDING) * reached[-1])
    return float(distances[order[enough]])
