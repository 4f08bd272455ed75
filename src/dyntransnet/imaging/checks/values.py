"""Rules of voxel values: what CT numbers of an abdomen can be.

Air and bone may be cut off, as published windows do: the liver itself is what is looked at.
"""

import numpy as np

from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import Mask, Scan

LIVER_HU = (-100.0, 300.0)
"""Where the median of any liver lies: fatty ones reach -20, those full of contrast 200.

An intercept of -1024 that was not applied puts it above 1000.
"""

SPREAD_HU = 100.0
"""Least distance between the lowest and the highest voxel: fat and muscle are as far apart."""

ENOUGH = 100_000
"""Voxels that give a median."""


def check_not_constant(scan: Scan) -> None:
    """Make sure that a scan shows something.

    Raises:
        ScanError: all voxels have one value.
    """
    if (low := scan.voxels.min()) == scan.voxels.max():
        raise ScanError(
            f"{scan.id}: voxels must differ, got {low:g} everywhere", code="voxels-constant"
        )


def check_hounsfield(scan: Scan, mask: Mask) -> None:
    """Make sure that the values can be Hounsfield units.

    Args:
        scan: CT.
        mask: on its grid.

    Raises:
        ScanError: the liver is too dark or too bright, or values are too close together.
    """
    low, high = float(scan.voxels.min()), float(scan.voxels.max())
    if high - low < SPREAD_HU:
        raise ScanError(
            f"{scan.id}: CT values must span {SPREAD_HU:g} HU, got {low:g} to {high:g}",
            code="not-hounsfield",
        )
    liver = scan.voxels[mask.labels > 0]
    if len(liver) == 0:
        return
    median = float(np.median(liver[:: len(liver) // ENOUGH + 1]))
    if not LIVER_HU[0] <= median <= LIVER_HU[1]:
        raise ScanError(
            f"{scan.id}: a liver's median must be {LIVER_HU[0]:g} to {LIVER_HU[1]:g} HU, "
            f"got {median:g}",
            code="not-hounsfield",
        )


def check_fat(scan: Scan) -> None:
    """Tell of a CT that shows neither fat nor air, which are below 0.

    Raises:
        ScanError: no voxel is below 0.
    """
    if (low := scan.voxels.min()) >= 0:
        raise ScanError(
            f"{scan.id}: CT should have fat or air below 0 HU, got {low:g} as the lowest",
            code="hounsfield-no-fat",
        )
