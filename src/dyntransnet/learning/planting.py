"""Synthetic lesions, planted into the livers of training windows.

A few scans hold a few lesions; a network that sees only those learns them by heart. Here
more are made: lumpy ellipsoids with blurred edges, darker or brighter than the liver around
them, that keep its noise and its vessels.
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

EDGE_MM = (1.0, 6.0)
"""How wide the edge is, from the liver's brightness to the lesion's."""

OUTLINED_AT = (0.2, 0.5)
"""How much of a voxel a lesion must fill to be inside its outline: some readers draw it wide."""

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
    radii_mm = radius_mm * np.exp(rng.normal(0, STRETCH, 3))
    edge_mm, outlined_at = rng.uniform(*EDGE_MM), rng.uniform(*OUTLINED_AT)
    reach = np.ceil((radii_mm * (1 + LUMPS) + edge_mm) / spacing_mm).astype(int)
    lump = lesion_shape(radii_mm, spacing_mm, edge_mm, reach, rng)
    first, last = center - reach, center + reach + 1
    low, high = np.maximum(first, 0), np.minimum(last, label.shape)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    filled = lump[tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))]
    liver: Bool[np.ndarray, "x y z"] = label[window] >= Label.LIVER
    image[window] = np.clip(image[window] + contrast * filled * liver, -1, 1)
    label[window][liver & (filled >= outlined_at)] = Label.TUMOR


def lesion_shape(
    radii_mm: np.ndarray,
    spacing_mm: np.ndarray,
    edge_mm: float,
    reach: np.ndarray,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "x y z"]:
    """A lumpy ellipsoid: 1 inside, 0 outside, a straight slope across its edge.

    Args:
        radii_mm: of its axes.
        spacing_mm: the grid's.
        edge_mm: how wide the slope is, half of it on each side of the surface.
        reach: voxels from the center to each side of the box.
        rng: where the lumps come from.
    """
    knots = rng.uniform(-LUMPS, LUMPS, (LUMP_KNOTS,) * 3)
    size = 2 * reach + 1
    surface = 1 + ndimage.zoom(knots, size / LUMP_KNOTS, order=1, grid_mode=True, mode="nearest")
    axes = np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij", sparse=True)
    steps = spacing_mm / radii_mm
    away = np.sqrt(sum((axis * step) ** 2 for axis, step in zip(axes, steps, strict=True)))
    inside_mm = (surface - away) * np.cbrt(np.prod(radii_mm))
    return np.clip(inside_mm / edge_mm + 0.5, 0, 1).astype(np.float32)
