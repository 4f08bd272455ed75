"""From a scan's grid to the network's, and back.

The network's grid has the contract's spacing and lies along the scan's own axes,
turned and flipped to the nearest RAS order: an oblique scan is not rotated. Both
grids share their center. Resampling is separable: one small matrix per axis,
so that it runs as matrix products and flips cost nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Bool, Float32

from dyntransnet.imaging.scan import Affine, Voxels, spacing_of

Volume = Float32[np.ndarray, "_ _ _"]
"""(x, y, z) on any grid; its edges are not bound to those of other arguments."""
Matrices = tuple[np.ndarray, np.ndarray, np.ndarray]
Box = tuple[slice, slice, slice]

SLAB = 16
"""Slices computed at a time: bounds memory, costs nothing measurable."""


@dataclass(frozen=True)
class Placement:
    """Where the network's grid lies on a scan's.

    Attributes:
        order: scan axis that runs along each network axis (x, y, z).
        to_grid: per scan axis, (network voxels, scan voxels) weights.
        to_scan: per scan axis, (scan voxels, network voxels) weights.
    """

    order: tuple[int, int, int]
    to_grid: Matrices
    to_scan: Matrices

    @classmethod
    def of(
        cls, shape: tuple[int, ...], affine: Affine, spacing_mm: tuple[float, float, float]
    ) -> "Placement":
        """Place a network grid of ``spacing_mm`` (RAS order) on a scan's grid."""
        order, flipped = orientation_of(affine)
        scan_spacing, counts = spacing_of(affine), grid_shape(shape, affine, spacing_mm)
        to_grid, to_scan = [np.empty(0)] * 3, [np.empty(0)] * 3
        for target, count, axis in zip(spacing_mm, counts, order, strict=True):
            ratio = target / scan_spacing[axis]
            down, up = (
                axis_weights(shape[axis], count, ratio),
                axis_weights(count, shape[axis], 1 / ratio),
            )
            # BLAS wants contiguous rows; a flipped view alone would be many times slower.
            to_grid[axis] = down[::-1].copy() if flipped[axis] else down
            to_scan[axis] = up[:, ::-1].copy() if flipped[axis] else up
        return cls(
            order, (to_grid[0], to_grid[1], to_grid[2]), (to_scan[0], to_scan[1], to_scan[2])
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the network's grid."""
        x, y, z = (len(self.to_grid[axis]) for axis in self.order)
        return x, y, z

    def volume_of(self, voxels: Voxels) -> Volume:
        """Bring a scan's voxels to the network's grid."""
        return np.ascontiguousarray(resample(voxels, self.to_grid).transpose(self.order))

    def slices_of(self, voxels: Voxels, rows: slice) -> Volume:
        """The same, of some slices of the network's grid (x, y, slices)."""
        matrices, box, axis = list(self.to_grid), [slice(None)] * 3, self.order[2]
        box[axis] = _span(matrices[axis][rows].any(axis=0))
        matrices[axis] = np.ascontiguousarray(matrices[axis][rows, box[axis]])
        near = resample(voxels[tuple(box)], (matrices[0], matrices[1], matrices[2]))
        return np.ascontiguousarray(near.transpose(self.order))

    def half_filled_by(self, inside: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "_ _ _"]:
        """Where a mask fills half of a network voxel; what it cannot reach is not computed."""
        found = np.zeros([len(matrix) for matrix in self.to_grid], bool)
        if inside.any():
            box = box_of(inside)
            reaching = [matrix[:, cut] for matrix, cut in zip(self.to_grid, box, strict=True)]
            reached = [_span(matrix.any(axis=1)) for matrix in reaching]
            x, y, z = (matrix[cut].copy() for matrix, cut in zip(reaching, reached, strict=True))
            found[tuple(reached)] = resample(inside[box].astype(np.int16), (x, y, z)) >= 0.5
        return np.ascontiguousarray(found.transpose(self.order))

    def on_scan_axes(self, volume: Volume) -> Volume:
        """Turn a network volume to the scan's axis order, still at network spacing."""
        return volume.transpose(np.argsort(self.order))

    def reached_by(self, volume: Volume, least: float) -> Iterator[tuple[Box, Volume]]:
        """Bring to the scan's grid what may be ``least`` or more there.

        Interpolation never exceeds the values it lies between: what no voxel of ``least``
        reaches is less. Neither it nor what it is made of is looked at.

        Yields:
            Boxes of the scan's grid, and their values.
        """
        near = self.on_scan_axes(volume)
        if not (inside := near >= least).any():
            return
        found = box_of(inside)
        del inside
        box = [
            _span(matrix[:, cut].any(axis=1))
            for matrix, cut in zip(self.to_scan, found, strict=True)
        ]
        reaching = [matrix[rows] for matrix, rows in zip(self.to_scan, box, strict=True)]
        used = [_span(matrix.any(axis=0)) for matrix in reaching]
        x, y, z = (
            np.ascontiguousarray(matrix[:, cut]) for matrix, cut in zip(reaching, used, strict=True)
        )
        for rows, values in resample_slabs(near[tuple(used)], (x, y, z)):
            first = box[2].start
            yield (box[0], box[1], slice(first + rows.start, first + rows.stop)), values


def box_of(inside: np.ndarray) -> Box:
    """The smallest box that holds all of a mask."""
    x, y, z = (_span(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    return x, y, z


def _span(hits: np.ndarray) -> slice:
    """From the first hit to the last."""
    places = np.flatnonzero(hits)
    return slice(int(places[0]), int(places[-1]) + 1)


def grid_shape(
    shape: tuple[int, ...], affine: Affine, spacing_mm: tuple[float, float, float]
) -> tuple[int, int, int]:
    """Voxels of a network's grid (x, y, z) on a scan's, before any memory is taken for it."""
    (order, _), edges = orientation_of(affine), spacing_of(affine)
    x, y, z = (
        max(1, round(shape[axis] / (target / edges[axis])))
        for target, axis in zip(spacing_mm, order, strict=True)
    )
    return x, y, z


def orientation_of(affine: Affine) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """The axis order and flips that bring a grid closest to RAS.

    Returns:
        The voxel axis running along world x, y and z; and, per voxel axis, whether
        it runs against its world axis.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    order = max(
        permutations(range(3)), key=lambda p: sum(abs(cosines[w, a]) for w, a in enumerate(p))
    )
    world_of = np.argsort(order)
    x, y, z = (bool(cosines[world_of[axis], axis] < 0) for axis in range(3))
    return (order[0], order[1], order[2]), (x, y, z)


def axis_weights(source: int, target: int, step: float) -> Float32[np.ndarray, "target source"]:
    """Linear interpolation along one axis, widened when it shrinks so that it averages.

    Args:
        source: voxels before.
        target: voxels after.
        step: target spacing in source voxels; both axes share their center.

    Returns:
        Rows that sum to 1. A target outside the source takes the edge's value.
    """
    at = (np.arange(target) - (target - 1) / 2) * step + (source - 1) / 2
    distance = np.abs(at.clip(0, source - 1)[:, None] - np.arange(source))
    weights = np.maximum(0, 1 - distance / max(1.0, step))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resample(voxels: Voxels, matrices: Matrices) -> Volume:
    """Apply one matrix per axis."""
    return np.concatenate([slab for _, slab in resample_slabs(voxels, matrices)], axis=2)


def resample_slabs(voxels: Voxels, matrices: Matrices) -> Iterator[tuple[slice, Volume]]:
    """Apply one matrix per axis, a slab of target slices at a time.

    Yields:
        Which slices of the last axis, and their values (x, y, slices).
    """
    along_x, along_y, along_z = matrices
    for first in range(0, len(along_z), SLAB):
        rows = slice(first, min(first + SLAB, len(along_z)))
        used = np.flatnonzero(along_z[rows].any(axis=0))
        band = slice(used[0], used[-1] + 1)
        # x must run fastest: arrays that come another way would be many times slower.
        block = voxels[:, :, band].T.astype(np.float32, order="C")
        for axis in _cheapest_first(matrices):
            block = _along(block, (along_x, along_y, along_z[rows, band])[axis], axis)
        yield rows, block.T


def _cheapest_first(matrices: Matrices) -> list[int]:
    """Axes that shrink come first: every later product is smaller for it."""
    return sorted(range(3), key=lambda axis: matrices[axis].shape[0] / matrices[axis].shape[1])


def _along(block: np.ndarray, matrix: np.ndarray, axis: int) -> np.ndarray:
    """Apply a matrix to one axis (x, y or z) of a (z, y, x) block."""
    if axis == 0:
        return block @ matrix.T
    if axis == 1:
        return np.matmul(matrix, block)
    return np.tensordot(matrix, block, axes=1)
