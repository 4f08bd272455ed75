"""How far the points of one set lie from another, on a grid whose steps differ by axis."""

from itertools import product
from math import floor, pi

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.spatial import cKDTree

from dyntransnet.scoring.surfels import SpacingMm

STEPS = 300
"""Places around a point where another is looked for, nearest first."""

VOXELS_PER_QUERY = 200
"""What is further away is asked of a tree, where one question costs about as much as the
distance transform of so many voxels; or of that transform, where it is the cheaper."""

Points = Int[np.ndarray, "_ 3"]
Distances = Float[np.ndarray, " _"]


def distances_mm(points: Points, others: Points, spacing_mm: SpacingMm) -> Distances:
    """Distance from each point to the nearest of the others, exact.

    Args:
        points: indices on a grid.
        others: indices on the same grid, at least one.
        spacing_mm: the grid's steps.
    """
    steps, lengths = _steps_around(spacing_mm)
    low = np.minimum(points.min(axis=0), others.min(axis=0)) - steps.max(axis=0)
    points, others = points - low, others - low
    edges = np.maximum(points.max(axis=0), others.max(axis=0)) + steps.max(axis=0) + 1
    taken = np.zeros(edges, bool, order="F")
    taken[tuple(others.T)] = True
    found = _step_by_step(points, taken, steps, lengths)
    far = np.flatnonzero(np.isinf(found))
    if len(far) * VOXELS_PER_QUERY > taken.size:
        found[far] = _transformed(points[far], taken, spacing_mm)
    elif len(far):
        tree = cKDTree(others * spacing_mm, leafsize=32, balanced_tree=False)
        found[far], _ = tree.query(points[far] * spacing_mm)
    return found


def _steps_around(spacing_mm: SpacingMm) -> tuple[Points, Distances]:
    """Steps on the grid to all that is near, with their lengths, shortest first."""
    radius_mm = (STEPS * np.prod(spacing_mm) * 3 / (4 * pi)) ** (1 / 3)
    reach = [floor(radius_mm / edge) for edge in spacing_mm]
    steps = np.array([*product(*(range(-most, most + 1) for most in reach))])
    lengths = np.linalg.norm(steps * spacing_mm, axis=1)
    order = np.argsort(lengths)
    order = order[lengths[order] <= radius_mm][:STEPS]
    return steps[order], lengths[order]


def _step_by_step(
    points: np.ndarray, taken: np.ndarray, steps: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Look around each point until another is found; infinite where none is near."""
    strides = np.cumprod([1, *taken.shape[:2]])
    flat, places = taken.ravel(order="F"), points @ strides
    found, left = np.full(len(points), np.inf), np.arange(len(points))
    for step, length in zip(steps @ strides, lengths, strict=True):
        hit = flat[places + step]
        found[left[hit]] = length
        places, left = places[~hit], left[~hit]
        if not len(left):
            break
    return found


def _transformed(
    points: np.ndarray, taken: Bool[np.ndarray, "x y z"], spacing_mm: SpacingMm
) -> np.ndarray:
    nearest = ndimage.distance_transform_edt(
        ~taken, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    steps = points - nearest[:, *points.T].T
    return np.linalg.norm(steps * spacing_mm, axis=1)
