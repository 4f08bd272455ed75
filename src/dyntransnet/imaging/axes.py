"""Axes that can be a grid's: three directions at right angles, none of them lost."""

import numpy as np
from jaxtyping import Float64

from dyntransnet.errors import ScanError

MIN_VOLUME_SHARE = 1e-6
"""Least volume of a voxel, as a share of its edges' product: rounding lifts a flat one above 0."""

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two axes: over 512 voxels it moves the last by half a voxel."""

Axes = Float64[np.ndarray, "3 3"]
"""Steps in millimeters along x, y and z of the grid, as columns."""


def check_axes(axes: Axes, case: str) -> None:
    """Make sure that axes span space and are not sheared.

    Args:
        axes: of a grid.
        case: who, in messages.

    Raises:
        ScanError: a value is not finite, the axes lie in a plane, or two are not at
            right angles.
    """
    edges = np.linalg.norm(axes, axis=0)
    volume = abs(np.linalg.det(axes)) if np.isfinite(axes).all() else 0.0
    if not volume > MIN_VOLUME_SHARE * np.prod(edges):
        raise ScanError(
            f"{case}: affine must be invertible, got {axes.tolist()}", code="affine-singular"
        )
    if (shear := shear_of(axes)) > SHEAR_TOLERANCE:
        raise ScanError(
            f"{case}: axes must be at right angles, got a cosine of {shear:.3g} between two",
            code="affine-sheared",
        )


def shear_of(axes: Axes) -> float:
    """The largest cosine between two axes: 0 where all angles are right."""
    units = axes / np.linalg.norm(axes, axis=0)
    return float(np.abs(units.T @ units - np.eye(3)).max())
