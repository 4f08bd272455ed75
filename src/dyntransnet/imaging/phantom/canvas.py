"""The canvas that samples solids onto a scan's grid."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dyntransnet.imaging.phantom.solids import Box, Field, Points, Solid, Vector, Wobble, vector
from dyntransnet.imaging.scan import Affine

EDGE_MM = 2.0
"""Over how many millimeters one tissue turns into the next."""

OUTSIDE_MM = 100.0
"""Depth given to voxels that a solid's box leaves out, negated."""


@dataclass(frozen=True)
class Grid:
    """Where a scan samples space: its size, and voxel index to RAS+ millimeters."""

    shape: tuple[int, int, int]
    affine: Affine

    def box(self, low: Vector, high: Vector) -> Box:
        """The voxels that can lie between two corners."""
        corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1)
        corners = np.clip(corners, -1e4, 1e4)
        index = self._inverse[:3, :3] @ corners + self._inverse[:3, 3:]
        first = np.floor(index.min(axis=1)).clip(0, self.shape).astype(int)
        last = np.ceil(index.max(axis=1) + 1).clip(0, self.shape).astype(int)
        x, y, z = (slice(start, stop) for start, stop in zip(first, last, strict=True))
        return x, y, z

    def nearest(self, point: Vector) -> tuple[int, int, int]:
        """The voxel whose center is nearest to a point inside the grid."""
        index = self._inverse[:3, :3] @ point + self._inverse[:3, 3]
        x, y, z = np.rint(index).astype(int).tolist()
        return x, y, z

    def points(self, box: Box) -> Points:
        """World coordinates of a box of voxels."""
        x, y, z = (self._along(world, box) for world in range(3))
        return Points(x, y, z, box)

    @cached_property
    def _inverse(self) -> Affine:
        return np.linalg.inv(self.affine)

    def _along(self, world: int, box: Box) -> Field:
        total = np.full((1, 1, 1), self.affine[world, 3], np.float32)
        for axis, span in enumerate(box):
            # Axes that do not move along this world axis stay thin, which makes solids cheap.
            if self.affine[world, axis]:
                steps = np.arange(span.start, span.stop, dtype=np.float32)
                steps *= np.float32(self.affine[world, axis])
                total = total + np.expand_dims(
                    steps, [other for other in range(3) if other != axis]
                )
        return total


class Canvas:
    """Hounsfield units on a grid, painted one solid over the other."""

    def __init__(self, grid: Grid, hu: float) -> None:
        self.grid = grid
        self.voxels = np.full(grid.shape, hu, np.float32)

    def paint(self, solid: Solid, hu: float | Wobble) -> None:
        """Fill a solid, its edge soft."""
        box, p = self.near(solid.low, solid.high)
        if min(self.voxels[box].shape) > 0:
            self.fill(box, solid.depth(p), hu if isinstance(hu, float) else hu(p))

    def near(self, low: Vector, high: Vector) -> tuple[Box, Points]:
        """The voxels between two corners, and where they lie."""
        edge = (EDGE_MM,) * 3
        box = self.grid.box(
            vector(a - e for a, e in zip(low, edge, strict=True)),
            vector(a + e for a, e in zip(high, edge, strict=True)),
        )
        return box, self.grid.points(box)

    def sampled(self, solid: Solid) -> Solid:
        """The same solid, its depth worked out once for all that will be painted within it."""
        box, p = self.near(solid.low, solid.high)
        depth = np.full(self.grid.shape, -OUTSIDE_MM, np.float32)
        depth[box] = solid.depth(p)
        return Solid(
            solid.low, solid.high, lambda p: solid.depth(p) if p.box is None else depth[p.box]
        )

    def fill(self, box: Box, depth: Field, hu: float | Field) -> None:
        """Fill where ``depth`` is positive."""
        share = depth * np.float32(1 / EDGE_MM)
        share += np.float32(0.5)
        np.clip(share, 0, 1, out=share)
        voxels = self.voxels[box]
        voxels += share * (hu - voxels)
