"""What every scan keeps to: a size that fits in memory, and axes at right angles."""

from math import prod

import numpy as np
from jaxtyping import Float64

from dyntransnet.errors import ScanError

MAX_VOXELS = 2**29
"""512 x 512 x 2048: twice the longest scan of a trunk."""

MAX_BYTES = 2**30
"""Of voxels as they are stored; reading takes about twice as much for a moment."""

MIN_VOLUME_SHARE = 1e-6
"""Least volume of a voxel, as a share of its edges' product: rounding lifts a flat one above 0."""

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two axes: over 512 voxels it moves the last by half a voxel."""

Axes = Float64[np.ndarray, "3 3"]
"""Steps in millimeters along x, y and z of the grid, as columns."""


def check_size(shape: tuple[int, ...], voxel_bytes: int, case: str) -> None:
    """Make sure that an image fits in memory, before any is taken.

    Raises:
        ScanError: it has no voxels, or more voxels or bytes than any scan.
    """
    if min(shape) < 1:
        raise ScanError(f"{case}: each edge must have voxels, got {shape}", code="size-invalid")
    voxels = prod(shape)
    if voxels > MAX_VOXELS or voxels * voxel_bytes > MAX_BYTES:
        raise ScanError(
            f"{case}: must have at most {MAX_VOXELS} voxels in {MAX_BYTES} bytes, "
            f"got {shape} of {voxel_bytes} bytes each",
            code="too-large",
        )


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
