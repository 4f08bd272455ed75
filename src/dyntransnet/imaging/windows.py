"""Where windows lie in a volume, and how much each voxel of one counts.

Source: Isensee et al., nnU-Net, Nature Methods 18, 2021, https://doi.org/10.1038/s41592-020-01008-z
"""

import numpy as np

from dyntransnet.imaging.geometry import Volume

Corner = tuple[int, int, int]
"""A window's first voxel."""
Shape = tuple[int, int, int]

SIGMA = 0.125
"""Width of the blending Gaussian, as a share of the window's edge (nnU-Net)."""

MIN_WEIGHT = 1e-3
"""Keeps every voxel reachable where only a window's corner covers it."""


def window_starts(
    shape: tuple[int, ...], patch_size: Shape, overlap: float
) -> tuple[list[int], ...]:
    """Where windows begin along each axis."""
    starts = []
    for size, edge in zip(shape, patch_size, strict=True):
        step = max(1, round(edge * (1 - overlap)))
        # The last window sits flush with the edge: padding would show air that is not there.
        starts.append(sorted({*range(0, size - edge, step), size - edge}))
    return tuple(starts)


def gaussian_weight(patch_size: Shape) -> Volume:
    """Blending weight of each voxel of a window, 1 at the center."""
    axes = [
        np.exp(-0.5 * ((np.arange(edge) - (edge - 1) / 2) / (edge * SIGMA)) ** 2)
        for edge in patch_size
    ]
    weight = np.einsum("i,j,k->ijk", *axes)
    return np.maximum(weight / weight.max(), MIN_WEIGHT).astype(np.float32)


def pad_to(volume: Volume, patch_size: Shape, value: float) -> tuple[Volume, tuple[slice, ...]]:
    """Pad a volume on both sides to hold one window, and say where it went."""
    whole, inner = padded_shape(volume.shape, patch_size)
    if whole == volume.shape:
        return volume, inner
    widths = [(at.start, size - at.stop) for at, size in zip(inner, whole, strict=True)]
    return np.pad(volume, widths, constant_values=value), inner


def padded_shape(
    shape: tuple[int, ...], patch_size: Shape
) -> tuple[Shape, tuple[slice, slice, slice]]:
    """The shape that holds one window, and where a volume lies in it: in the middle."""
    x, y, z = (max(size, edge) for size, edge in zip(shape, patch_size, strict=True))
    before = [(whole - size) // 2 for whole, size in zip((x, y, z), shape, strict=True)]
    along_x, along_y, along_z = (
        slice(low, low + size) for low, size in zip(before, shape, strict=True)
    )
    return (x, y, z), (along_x, along_y, along_z)


def window_at(corner: Corner, patch_size: Shape) -> tuple[slice, ...]:
    """Where a window lies in its volume."""
    return tuple(slice(start, start + edge) for start, edge in zip(corner, patch_size, strict=True))
