import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dyntransnet.scoring import nearest
from dyntransnet.scoring.nearest import distances_mm

SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.9, 5.0), (3.0, 0.2, 0.4), (0.1, 0.1, 40.0)]


def cloud(count: int, edges: tuple[int, int, int], *, seed: int, start: int = -1) -> np.ndarray:
    return np.random.default_rng(seed).integers(start, edges, (count, 3))


def by_all_pairs(points: np.ndarray, others: np.ndarray, spacing) -> np.ndarray:
    return cdist(points * spacing, others * spacing).min(axis=1)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("voxels_per_query", [0, 10**9])
@pytest.mark.parametrize("others", [1, 7, 300])
def test_distances_are_those_of_all_pairs(monkeypatch, spacing, voxels_per_query, others):
    """Some are found step by step, the others by the tree, or by the transform."""
    monkeypatch.setattr(nearest, "VOXELS_PER_QUERY", voxels_per_query)
    one, other = cloud(200, (40, 22, 31), seed=1), cloud(others, (9, 30, 12), seed=2)
    expected = by_all_pairs(one, other, spacing)
    np.testing.assert_allclose(distances_mm(one, other, spacing), expected, atol=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_what_is_near_is_found_without_a_tree(monkeypatch, spacing):
    monkeypatch.delattr(nearest, "cKDTree")
    points = cloud(300, (12, 9, 14), seed=3)
    moved = points + np.array([0, 1, 0])
    expected = by_all_pairs(points, moved, spacing)
    np.testing.assert_allclose(distances_mm(points, moved, spacing), expected, atol=1e-9)


def test_points_in_both_sets_are_0_apart():
    points = cloud(50, (12, 9, 14), seed=4)
    assert not distances_mm(points, points[::-1], (0.7, 0.9, 5.0)).any()


def test_a_steps_length_never_exceeds_that_of_one_left_out():
    for spacing in SPACINGS:
        steps, lengths = nearest._steps_around(spacing)
        kept = set(map(tuple, steps.tolist()))
        reach = int(lengths[-1] / min(spacing)) + 1
        axis = int(np.argmin(spacing))
        for away in range(reach):
            step = tuple(away if a == axis else 0 for a in range(3))
            assert (step in kept) == (away * spacing[axis] <= lengths[-1] + 1e-9)
