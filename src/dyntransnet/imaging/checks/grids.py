"""Rules of a scan's grid, and of a mask's place on it."""

import numpy as np

from dyntransnet.errors import ScanError
from dyntransnet.imaging.limits import check_axes
from dyntransnet.imaging.scan import Affine, Mask, Scan, check_finite, spacing_of

AFFINE_TOLERANCE_MM = 1e-2
"""How far corresponding voxels of a scan and its mask may lie apart without a word."""

SNAP_VOXELS = 0.1
"""How far, in the scan's shortest edge, a mask may be moved onto its scan.

Rounded headers are off by less; the mistakes that matter, half a voxel between corner and
center above all, by more.
"""

MIN_EDGE_VOXELS = 2

MIN_SPACING_MM = 0.05
MAX_SPACING_MM = 50.0
"""No scanner of people's; keeps a wrong unit from asking for a grid that no memory holds."""


def check_scan(scan: Scan) -> None:
    """Make sure that a scan has a size, a place in space and finite voxels.

    Raises:
        ScanError: an edge is too short, the affine is not invertible or is sheared, a
            voxel is too small or too large to be true, or a value is NaN or infinite.
    """
    if min(scan.voxels.shape) < MIN_EDGE_VOXELS:
        raise ScanError(
            f"{scan.id}: each edge must have at least {MIN_EDGE_VOXELS} voxels, "
            f"got {scan.voxels.shape}",
            code="edge-short",
        )
    check_affine(scan.affine, scan.id)
    check_finite(scan.voxels, scan.id)


def check_affine(affine: Affine, case: str) -> None:
    """Make sure that an affine is a place in space.

    Raises:
        ScanError: it is not finite or not invertible, its axes are not at right angles,
            or its spacing is not a scanner's.
    """
    if not np.isfinite(affine).all():
        raise ScanError(
            f"{case}: affine must be finite, got {affine.tolist()}", code="affine-singular"
        )
    check_axes(affine[:3, :3], case)
    if min(spacing_of(affine)) < MIN_SPACING_MM or max(spacing_of(affine)) > MAX_SPACING_MM:
        raise ScanError(
            f"{case}: spacing must be {MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} mm, "
            f"got {_shown(affine)}",
            code="spacing-unit",
        )


def check_pair(scan: Scan, mask: Mask) -> None:
    """Make sure that a mask lies on its scan's grid.

    Raises:
        ScanError: the shapes differ, or corners lie apart by more than ``SNAP_VOXELS``.
    """
    if mask.labels.shape != scan.voxels.shape:
        raise ScanError(
            f"{scan.id}: mask grid must equal scan grid {scan.voxels.shape}, "
            f"got {mask.labels.shape}",
            code="mask-shape",
        )
    apart = distance_mm(scan.affine, mask.affine, scan.voxels.shape)
    if not apart <= (limit_mm := SNAP_VOXELS * min(spacing_of(scan.affine))):
        raise ScanError(
            f"{scan.id}: mask must lie on the scan within {limit_mm:.2g} mm, "
            f"got corners {apart:.3g} mm apart "
            f"(spacing {_shown(scan.affine)} and {_shown(mask.affine)} mm)",
            code="mask-off-grid",
        )


def check_not_snapped(scan: Scan, mask: Mask) -> None:
    """Tell of a mask that lies beside its scan, though by less than ``check_pair`` refuses.

    Raises:
        ScanError: corners lie apart by more than ``AFFINE_TOLERANCE_MM``.
    """
    apart = distance_mm(scan.affine, mask.affine, scan.voxels.shape)
    if apart > AFFINE_TOLERANCE_MM:
        raise ScanError(
            f"{scan.id}: mask should lie on the scan within {AFFINE_TOLERANCE_MM} mm, "
            f"got corners {apart:.3g} mm apart",
            code="mask-snapped",
        )


def check_spacing_known(scan: Scan) -> None:
    """Tell of a scan whose header says nothing of its place and size.

    Readers then fill in voxels of 1 mm and an origin of 0, as in the LiTS volumes 28 to 47.

    Raises:
        ScanError: the affine is the identity but for flips.
    """
    if np.allclose(np.abs(scan.affine), np.eye(4), rtol=0, atol=1e-6):
        raise ScanError(
            f"{scan.id}: spacing should be given, got 1 x 1 x 1 mm from an origin of 0",
            code="spacing-missing",
        )


def distance_mm(one: Affine, other: Affine, shape: tuple[int, ...]) -> float:
    """The largest distance in millimeters between two grids' corresponding corners."""
    corners = np.array(np.meshgrid(*[(0, edge - 1) for edge in shape])).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(((one - other) @ homogeneous)[:3], axis=0).max())


def _shown(affine: Affine) -> str:
    return " x ".join(f"{edge:.4g}" for edge in spacing_of(affine))
