"""Scans that are one: the same voxels under two names, or the same body told by its look."""

import hashlib
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from dyntransnet.contract import Modality
from dyntransnet.imaging.geometry import axis_weights, orientation_of, resample
from dyntransnet.imaging.scan import Scan, Voxels

COARSE, EDGE = 64, 24
"""Voxels of a thumbnail's edge, before and after it is cropped to the body."""

SOFT_TISSUE_HU = (-160.0, 240.0)
"""Published windows keep this much: a scan and its windowed copy then look the same."""

BODY = 0.1
"""Of the range from darkest to brightest; the body is above, air below."""

ALIKE = 0.95
"""Correlation of thumbnails from which two scans are near-duplicates.

Of six LiTS scans, different people reached 0.83 and two that may be one person's 0.93; copies
with noise, at half the resolution or with a margin or a tenth of the slices cut off kept 0.96.
"""

Thumbnail = Float32[np.ndarray, "24 24 24"]


class Likeness(NamedTuple):
    """Two cases whose thumbnails correlate."""

    one: str
    other: str
    correlation: float


def voxels_sha256(scan: Scan) -> str:
    """A hash of a scan's voxels; how they are stored and in which order does not matter."""
    voxels = turned(scan)
    if voxels.dtype != np.int16:
        with np.errstate(invalid="ignore"):  # what int16 cannot hold is not equal to it either
            whole = voxels.astype(np.int16)
        voxels = whole if np.array_equal(voxels, whole) else voxels
    found = hashlib.sha256(f"{voxels.shape} {voxels.dtype}".encode())
    found.update(np.ascontiguousarray(voxels).data)
    return found.hexdigest()


def turned(scan: Scan) -> Voxels:
    """A scan's voxels in the order nearest to RAS."""
    order, flipped = orientation_of(scan.affine)
    flips = [axis for axis in range(3) if flipped[axis]]
    return np.flip(scan.voxels, flips).transpose(order)


def thumbnail(scan: Scan, modality: Modality) -> Thumbnail:
    """A small picture of the body alone, the same for all copies of a scan."""
    voxels = turned(scan)
    low, high = (
        SOFT_TISSUE_HU if modality == "CT" else np.percentile(voxels[::4, ::4, ::2], (1, 99))
    )
    own = voxels.dtype.type  # limits of another type would make a copy eight bytes a voxel
    coarse = _shrunk(np.clip(voxels, own(low), own(high)), COARSE)
    darkest, brightest = coarse.min(), coarse.max()
    pieces, count = ndimage.label(coarse > darkest + BODY * (brightest - darkest))
    if not count:
        return _shrunk(coarse, EDGE)
    largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    return _shrunk(coarse[ndimage.find_objects(pieces)[largest - 1]], EDGE)


def find_alike(thumbnails: Mapping[str, Thumbnail]) -> list[Likeness]:
    """Every two cases whose thumbnails correlate by ``ALIKE`` or more, the closest first."""
    names = list(thumbnails)
    if not names:
        return []
    flat = np.stack([thumbnails[name].ravel() for name in names]).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    correlations = flat @ flat.T
    found = [
        Likeness(names[one], names[other], round(float(correlations[one, other]), 4))
        for one, other in combinations(range(len(names)), 2)
        if correlations[one, other] >= ALIKE
    ]
    return sorted(found, key=lambda likeness: -likeness.correlation)


def _shrunk(voxels: Voxels, edge: int) -> Float32[np.ndarray, "_ _ _"]:
    """Average down to a cube; a scan of few slices is spread over it."""
    x, y, z = (axis_weights(size, edge, size / edge) for size in voxels.shape)
    return resample(voxels, (x, y, z))
