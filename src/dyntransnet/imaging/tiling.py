"""A network that sees windows, run over a whole volume.

Windows overlap and are blended with a Gaussian, so that a voxel is decided by the
windows that see most around it.
Source: Isensee et al., nnU-Net, Nature Methods 18, 2021, https://doi.org/10.1038/s41592-020-01008-z
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from jaxtyping import Float32

from dyntransnet.imaging.geometry import Volume

Windows = Float32[np.ndarray, "n 1 x y z"]
Scores = Float32[np.ndarray, "n classes x y z"]
Predict = Callable[[np.ndarray], np.ndarray]
"""Windows in, logits out: the one seam through which every runtime is called."""

SIGMA = 0.125
"""Width of the blending Gaussian, as a share of the window's edge (nnU-Net)."""

MIN_WEIGHT = 1e-3
"""Keeps every voxel reachable where only a window's corner covers it."""


def predict_tiled(
    volume: Volume,
    predict: Predict,
    *,
    classes: int,
    patch_size: tuple[int, int, int],
    overlap: float,
    padding: float,
    batch_size: int = 4,
) -> Float32[np.ndarray, "classes x y z"]:
    """Run a windowed network over a volume of any size.

    Args:
        volume: network input (x, y, z).
        predict: takes windows (n, 1, x, y, z) and gives logits (n, classes, x, y, z).
        classes: channels of the logits.
        patch_size: voxels of one window.
        overlap: share of a window's edge that neighbors share, in [0, 1).
        padding: value around a volume that is smaller than one window.
        batch_size: most windows in one call.

    Returns:
        Blended logits on the volume's grid.
    """
    padded, inner = pad_to(volume, patch_size, padding)
    weight = gaussian_weight(patch_size)
    total = np.zeros(padded.shape, np.float32)
    blended = np.zeros((classes, *padded.shape), np.float32)
    corners = list(window_corners(padded.shape, patch_size, overlap))
    for first in range(0, len(corners), batch_size):
        slices = [_window(corner, patch_size) for corner in corners[first : first + batch_size]]
        scores = predict(np.stack([padded[s] for s in slices])[:, None])
        for window, score in zip(slices, scores, strict=True):
            blended[(slice(None), *window)] += weight * score
            total[window] += weight
    blended /= total
    return blended[(slice(None), *inner)]


def window_corners(
    shape: tuple[int, ...], patch_size: tuple[int, int, int], overlap: float
) -> Iterator[tuple[int, ...]]:
    """First voxel of each window that together cover ``shape``."""
    starts = []
    for size, edge in zip(shape, patch_size, strict=True):
        step = max(1, round(edge * (1 - overlap)))
        # The last window sits flush with the edge: padding would show air that is not there.
        starts.append(sorted({*range(0, size - edge, step), size - edge}))
    yield from product(*starts)


def gaussian_weight(patch_size: tuple[int, int, int]) -> Volume:
    """Blending weight of each voxel of a window, 1 at the center."""
    axes = [
        np.exp(-0.5 * ((np.arange(edge) - (edge - 1) / 2) / (edge * SIGMA)) ** 2)
        for edge in patch_size
    ]
    weight = np.einsum("i,j,k->ijk", *axes)
    return np.maximum(weight / weight.max(), MIN_WEIGHT).astype(np.float32)


def pad_to(
    volume: Volume, patch_size: tuple[int, int, int], value: float
) -> tuple[Volume, tuple[slice, ...]]:
    """Pad a volume on both sides to hold one window, and say where it went."""
    short = [max(0, edge - size) for size, edge in zip(volume.shape, patch_size, strict=True)]
    before = [missing // 2 for missing in short]
    widths = [(low, missing - low) for low, missing in zip(before, short, strict=True)]
    inner = tuple(slice(low, low + size) for low, size in zip(before, volume.shape, strict=True))
    return np.pad(volume, widths, constant_values=value), inner


def _window(corner: tuple[int, ...], patch_size: tuple[int, int, int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + edge) for start, edge in zip(corner, patch_size, strict=True))
