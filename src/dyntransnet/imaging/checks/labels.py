"""Rules of a mask's labels, whatever grid they are on."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from dyntransnet.contract import Label
from dyntransnet.errors import ScanError
from dyntransnet.imaging.lesions import TOUCHING, box_of
from dyntransnet.imaging.scan import Mask, Scan, spacing_of

APART_MM = 5.0
"""A tumor this far from the liver is apart from it; never less than two voxels, so that one
slice may have been skipped."""

Inside = Bool[np.ndarray, "x y z"]


def check_labeled(scan: Scan, mask: Mask) -> None:
    """Make sure that somebody has labeled the scan: every one of these datasets shows livers.

    Raises:
        ScanError: the mask is empty.
    """
    if not mask.labels.any():
        raise ScanError(f"{scan.id}: mask must have a liver, got no label", code="mask-empty")


def check_tumors_in_liver(scan: Scan, mask: Mask) -> None:
    """Make sure that tumors are the liver's: each touches it, or all but touches it.

    Raises:
        ScanError: some tumors are apart from the liver, under one code where they are most
            of the tumor and under another where they are not.
    """
    voxels = apart_from_liver(mask)
    if apart := sum(voxels):
        whole = int(np.count_nonzero(mask.labels == Label.TUMOR))
        raise ScanError(
            f"{scan.id}: tumors must touch the liver, got {len(voxels)} apart from it, "
            f"{apart} of {whole} voxels",
            code="tumor-outside-liver" if apart > whole / 2 else "tumor-stray",
        )


def apart_from_liver(mask: Mask) -> list[int]:
    """Voxels of each tumor that is farther from the liver than ``APART_MM``."""
    tumor = mask.labels == Label.TUMOR
    if not tumor.any():
        return []
    spacing = spacing_of(mask.affine)
    limit_mm = max(APART_MM, 2 * max(spacing))
    margin = [int(limit_mm / edge) + 1 for edge in spacing]
    around = _widened(box_of(tumor), margin)
    pieces, _ = ndimage.label(tumor[around], structure=TOUCHING)
    liver = mask.labels[around] == Label.LIVER
    sizes = []
    for number, tight in enumerate(ndimage.find_objects(pieces), start=1):
        box = _widened(tight, margin)
        piece = pieces[box] == number
        if not _is_near(piece, liver[box], spacing, limit_mm):
            sizes.append(int(np.count_nonzero(piece)))
    return sizes


def _is_near(
    piece: Inside, liver: Inside, spacing: tuple[float, float, float], limit_mm: float
) -> bool:
    """Touching is looked at first: distances take ten times as long, and few need them."""
    if (ndimage.binary_dilation(piece, TOUCHING) & liver).any():
        return True
    if not liver.any():
        return False
    return bool(ndimage.distance_transform_edt(~piece, sampling=spacing)[liver].min() <= limit_mm)


def _widened(box: tuple[slice, ...], margin: list[int]) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, edge.start - more), edge.stop + more)
        for edge, more in zip(box, margin, strict=True)
    )
