"""How far apart the surfaces of two masks lie, in millimeters.

Surfaces are the triangles between voxel centers of DeepMind's library, each counted by
its area; one implementation for all distances, because tools differ by much more than
methods do (Podobnik and Vrtovec, https://arxiv.org/abs/2410.02630).
"""

import math
import warnings

import numpy as np
import surface_distance as library  # type: ignore[import-untyped]
from jaxtyping import Bool

from dyntransnet.scoring.overlap import Row, box_of, check_one_grid

SURFACE_SCORES = ("hd95_mm", "nsd", "assd_mm")
PERCENT = 95
ROUNDING_MM = 1e-4
"""Headers keep spacings as 32-bit floats: a distance of just the tolerance is within it."""


def surface_scores(
    truth: Bool[np.ndarray, "_ _ _"],
    predicted: Bool[np.ndarray, "_ _ _"],
    spacing_mm: tuple[float, float, float],
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
        surfaces. All are NaN where a mask is empty: it has no surface.

    Raises:
        ScanError: the masks lie on different grids.

    Source:
        Nikolov et al., J Med Internet Res 23(7), 2021, https://doi.org/10.2196/26151
    """
    check_one_grid(truth, predicted)
    if not (truth.any() and predicted.any()):
        return dict.fromkeys(SURFACE_SCORES, math.nan)
    box = box_of(truth | predicted)
    with warnings.catch_warnings():
        # The library calls scipy by names that scipy has moved.
        warnings.filterwarnings("ignore", "Please import", DeprecationWarning)
        distances = library.compute_surface_distances(truth[box], predicted[box], spacing_mm)
    return {
        "hd95_mm": float(library.compute_robust_hausdorff(distances, PERCENT)),
        "nsd": float(
            library.compute_surface_dice_at_tolerance(distances, tolerance_mm + ROUNDING_MM)
        ),
        "assd_mm": _average(distances),
    }


def _average(distances: dict[str, np.ndarray]) -> float:
    """Over both surfaces at once, so that a large one counts for more than a small one."""
    weighted = sum(
        float(distances[f"distances_{one}"] @ distances[f"surfel_areas_{surface}"])
        for one, surface in (("gt_to_pred", "gt"), ("pred_to_gt", "pred"))
    )
    return weighted / float(
        distances["surfel_areas_gt"].sum() + distances["surfel_areas_pred"].sum()
    )
