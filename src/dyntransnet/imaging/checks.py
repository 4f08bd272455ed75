"""Rules a scan and its mask must keep before any work is done on them."""

import numpy as np

from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import Affine, Mask, Scan, check_finite, spacing_of

AFFINE_TOLERANCE_MM = 1e-2
"""How far corresponding voxels of a scan and its mask may lie apart."""

MIN_EDGE_VOXELS = 2

MAX_SPACING_MM = 50.0
"""No scanner's; keeps a wrong unit from asking for a grid that no memory holds."""

MIN_VOLUME_SHARE = 1e-6
"""Least volume of a voxel, as a share of its edges' product: rounding lifts a flat one above 0."""


def check_scan(scan: Scan) -> None:
    """Make sure that a scan has a size, a place in space and finite voxels.

    Raises:
        ScanError: an edge is too short, the affine is not invertible, a voxel is too
            large to be true, or a value is NaN or infinite.
    """
    if min(scan.voxels.shape) < MIN_EDGE_VOXELS:
        raise ScanError(
            f"{scan.id}: each edge must have at least {MIN_EDGE_VOXELS} voxels, "
            f"got {scan.voxels.shape}"
        )
    volume_mm3 = abs(np.linalg.det(scan.affine[:3, :3])) if np.isfinite(scan.affine).all() else 0.0
    if not volume_mm3 > MIN_VOLUME_SHARE * np.prod(spacing_of(scan.affine)):
        raise ScanError(f"{scan.id}: affine must be invertible, got {scan.affine.tolist()}")
    if max(spacing_of(scan.affine)) > MAX_SPACING_MM:
        raise ScanError(
            f"{scan.id}: spacing must not exceed {MAX_SPACING_MM:g} mm, got {_shown(scan.affine)}"
        )
    check_finite(scan.voxels, scan.id)


def check_pair(scan: Scan, mask: Mask) -> None:
    """Make sure that a mask lies on its scan's grid.

    Raises:
        ScanError: the shapes differ, or corners lie apart by more than
            ``AFFINE_TOLERANCE_MM``.
    """
    if mask.labels.shape != scan.voxels.shape:
        raise ScanError(
            f"{scan.id}: mask grid must equal scan grid {scan.voxels.shape}, "
            f"got {mask.labels.shape}"
        )
    apart = distance_mm(scan.affine, mask.affine, scan.voxels.shape)
    if apart > AFFINE_TOLERANCE_MM:
        raise ScanError(
            f"{scan.id}: mask must lie on the scan within {AFFINE_TOLERANCE_MM} mm, "
            f"got corners {apart:.3g} mm apart "
            f"(spacing {_shown(scan.affine)} and {_shown(mask.affine)} mm)"
        )


def distance_mm(one: Affine, other: Affine, shape: tuple[int, ...]) -> float:
    """The largest distance in millimeters between two grids' corresponding corners."""
    corners = np.array(np.meshgrid(*[(0, edge - 1) for edge in shape])).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(((one - other) @ homogeneous)[:3], axis=0).max())


def _shown(affine: Affine) -> str:
    return " x ".join(f"{edge:.4g}" for edge in spacing_of(affine))
