"""The surface of a mask, in pieces: one for each 2 x 2 x 2 voxels that it cuts.

A piece lies at the corner that its eight voxels share, and has the area of the triangles
that marching cubes put there. The triangles of the fourteen kinds of cubes are those of
DeepMind's surface-distance library (Apache-2.0).
"""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

SpacingMm = tuple[float, float, float]

CUBES: dict[tuple[int, ...], str] = {
    (): "000",
    (0,): "111",
    (0, 1): "220 220",
    (0, 3): "111 111",
    (0, 7): "111 111",
    (0, 1, 2): "111 222 400",
    (0, 1, 6): "111 220 220",
    (0, 3, 5): "111 111 111",
    (0, 1, 2, 3): "400 400",
    (0, 1, 2, 4): "111 111 222 222",
    (0, 1, 3, 4): "022 111 202 333",
    (1, 2, 3, 4): "111 111 222 400",
    (2, 3, 4, 5): "220 220 220 220",
    (0, 3, 5, 6): "111 111 111 111",
}
"""Voxels in the mask to the normals of the triangles, as long as these are large.

A voxel's number has a bit for each axis, x first. Normals are in eighths of a voxel's
face, signs left out. Cubes that are turned, mirrored or have inside and outside changed
follow from these.
"""

MOST_TRIANGLES = 4
EVERY_VOXEL = 255


@dataclass(frozen=True)
class Surface:
    """Pieces of a mask's surface.

    Attributes:
        points: index of the voxel behind each piece's corner, on all three axes; -1 where
            the corner lies on the edge of the scan.
        areas_mm2: of each piece.
    """

    points: Int[np.ndarray, "n 3"]
    areas_mm2: Float[np.ndarray, " n"]


def surface_of(mask: Bool[np.ndarray, "x y z"], spacing_mm: SpacingMm) -> Surface:
    """Cut a mask's surface into pieces; what lies outside the array is outside the mask.

    Args:
        mask: to be cut.
        spacing_mm: voxel edges, in the order of the array's axes.

    Source:
        Lorensen and Cline, SIGGRAPH 1987, https://doi.org/10.1145/37401.37422
    """
    codes = _codes(mask)
    flat = codes.ravel(order="F")
    cut = np.flatnonzero((flat != 0) & (flat != EVERY_VOXEL))
    points = np.stack(np.unravel_index(cut, codes.shape, order="F"), axis=1) - 1
    return Surface(points, areas_mm2(spacing_mm)[flat[cut]])


def areas_mm2(spacing_mm: SpacingMm) -> Float[np.ndarray, "256"]:
    """Area of the surface in each of the 256 cubes."""
    x, y, z = spacing_mm
    return np.linalg.norm(_NORMALS * (y * z, x * z, x * y), axis=2).sum(axis=1)


def _codes(mask: Bool[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "x+1 y+1 z+1"]:
    """For each corner of voxels which of its eight are in the mask, as a number's bits."""
    # Scans keep x together in memory; the other order takes twice as long.
    code: np.ndarray = np.zeros([edge + 2 for edge in mask.shape], np.uint8, order="F")
    code[1:-1, 1:-1, 1:-1] = mask
    code = code[:, :, :-1] | code[:, :, 1:] << 1
    code = code[:, :-1] | code[:, 1:] << 2
    return code[:-1] | code[1:] << 4


def _turned_cubes() -> Float[np.ndarray, "256 4 3"]:
    """Normals of every cube, in faces of a voxel."""
    corners = np.array([*product((0, 1), repeat=3)])
    normals = np.zeros((EVERY_VOXEL + 1, MOST_TRIANGLES, 3))
    for (voxels, lengths), order, flips in product(
        CUBES.items(), permutations(range(3)), product((0, 1), repeat=3)
    ):
        moved = corners[list(voxels)][:, order] ^ np.array(flips)
        code = int((1 << (moved @ (4, 2, 1))).sum())
        found = np.array([[int(length) for length in one] for one in lengths.split()]) / 8
        for each in (code, EVERY_VOXEL - code):
            normals[each, : len(found)] = found[:, order]
    return normals


_NORMALS = _turned_cubes()
