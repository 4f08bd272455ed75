"""Synthetic lesions, planted into the livers of training windows.

A few scans hold a few lesions; a network that sees only those learns them by heart. Here
more are made: lumpy ellipsoids, darker or brighter than the liver around them, that keep
its noise and its vessels.
Source:
    after Hu et al., Label-free liver tumor segmentation, https://arxiv.org/abs/2303.14869
"""

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from dyntransnet.config import LesionParams
from dyntransnet.contract import Label

Spacing = tuple[float, float, float]

STRETCH = 0.25
"""Deviation of the logarithm of each axis against the lesion's radius."""

LUMPS = 0.25
"""How far the surface may lie off the ellipsoid, as a share of its radius."""

LUMP_KNOTS = 4
"""Random values along each edge of the lesion's box, which the surface's lumps run through."""


def plant(
    image: np.ndarray,
    label: np.ndarray,
    params: LesionParams,
    spacing_mm: Spacing,
    rng: np.random.Generator,
) -> None:
    """Plant up to ``params.most`` lesions, in a share of the windows.

    Args:
        image: a window of network input, in [-1, 1], as (x, y, z); changed in place.
        label: its labels; what is planted becomes tumor; changed in place.
        params: how often, how large and how dark.
        spacing_mm: the grid's.
        rng: where the chance comes from.
    """
    if rng.random() >= params.share:
        return
    liver = np.flatnonzero(label >= Label.LIVER)
    if not len(liver):
        return
    for _ in range(rng.integers(1, params.most + 1)):
        center = np.array(np.unravel_index(rng.choice(liver), label.shape))
        radius_mm = np.exp(rng.uniform(*np.log(params.radius_mm)))
        contrast = rng.uniform(*params.contrast)
        _plant_one(image, label, center, radius_mm, contrast, np.array(spacing_mm), rng)


def _plant_one(
    image: np.ndarray,
    label: np.ndarray,
    center: np.ndarray,
    radius_mm: float,
    contrast: float,
    spacing_mm: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """One lesion, clipped to the liver and to the window."""
    radii = radius_mm * np.exp(rng.normal(0, STRETCH, 3)) / spacing_mm
    reach = np.ceil(radii * (1 + LUMPS)).astype(int) + 1
    lump = lesion_shape(radii, reach, rng)
    first, last = center - reach, center + reach + 1
    low, high = np.maximum(first, 0), np.minimum(last, label.shape)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    filled = lump[tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))]
    liver: Bool[np.ndarray, "x y z"] = label[window] >= Label.LIVER
    image[window] = np.clip(image[window] + contrast * filled * liver, -1, 1)
    label[window][liver & (filled >= 0.5)] = Label.TUMOR


def lesion_shape(
    radii: np.ndarray, reach: np.ndarray, rng: np.random.Generator
) -> Float32[np.ndarray, "x y z"]:
    """How much of each voxel a lumpy ellipsoid fills: 1 inside, 0 outside, one voxel between.

    Args:
        radii: of its axes, in voxels.
        reach: voxels from the center to each side of the box.
        rng: where the lumps come from.
    """
    knots = rng.uniform(-LUMPS, LUMPS, (LUMP_KNOTS,) * 3)
    size = 2 * reach + 1
    surface = 1 + ndimage.zoom(knots, size / LUMP_KNOTS, order=1, grid_mode=True, mode="nearest")
    axes = np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij", sparse=True)
    away = np.sqrt(sum((axis / radius) ** 2 for axis, radius in zip(axes, radii, strict=True)))
    voxels_inside = (surface - away) * np.cbrt(np.prod(radii))
    return np.clip(voxels_inside + 0.5, 0, 1).astype(np.float32)
