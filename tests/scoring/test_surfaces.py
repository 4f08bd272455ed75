import math

import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from builders import affine_of, blobs, distance_to, off_center
from dyntransnet.errors import ScanError
from dyntransnet.scoring import nearest
from dyntransnet.scoring.surfaces import ROUNDING_MM, SURFACE_SCORES, surface_scores

SHAPE = (44, 50, 36)
SPACING = (2.0, 0.9, 1.5)
EMPTY = np.zeros(SHAPE, bool)


def box(*, moved: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    inside = EMPTY.copy()
    x, y, z = moved
    inside[8 + x : 32 + x, 10 + y : 36 + y, 6 + z : 28 + z] = True
    return inside


def ball(radius_mm: float) -> np.ndarray:
    affine = affine_of(SHAPE, SPACING)
    return distance_to(SHAPE, affine, off_center(0.3, -0.2, 0.1)) <= radius_mm


def scored(truth, predicted, *, tolerance_mm=2.0, spacing=SPACING):
    return surface_scores(truth, predicted, spacing, tolerance_mm=tolerance_mm)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("by", [-3, 2])
def test_a_box_moved_along_an_axis_is_off_by_that_axis_spacing(axis, by):
    moved = tuple(by if a == axis else 0 for a in range(3))
    away = abs(by) * SPACING[axis]
    found = scored(box(), box(moved=moved), tolerance_mm=away)
    assert found["hd95_mm"] == pytest.approx(away)
    assert found["nsd"] == 1
    assert 0 < found["assd_mm"] < away


def test_the_surface_dice_of_a_moved_box_is_the_share_within_reach():
    """Moved along x by 12 mm, 5 mm are not enough for the outer face, for 12 - 5 mm of each
    side, and for what lies inside the other box further than 5 mm from its sides."""
    x, y, z = (edge * step for edge, step in zip((24, 26, 22), SPACING, strict=True))
    face, sides = y * z, 2 * (x * y + x * z)
    out = face + sides * (12 - 5) / x + (y - 10) * (z - 10)
    found = scored(box(), box(moved=(6, 0, 0)), tolerance_mm=5.0)
    assert found["nsd"] == pytest.approx(1 - out / (2 * face + sides), abs=0.01)


@pytest.mark.parametrize(("inner", "outer"), [(12.0, 16.0), (15.0, 18.0)])
def test_concentric_balls_are_apart_by_the_difference_of_their_radii(inner, outer):
    found = scored(ball(inner), ball(outer))
    voxel = max(SPACING)
    assert found["hd95_mm"] == pytest.approx(outer - inner, abs=voxel)
    assert found["assd_mm"] == pytest.approx(outer - inner, abs=voxel / 2)
    for tolerance_mm, expected in ((outer - inner - voxel, 0), (outer - inner + voxel, 1)):
        assert scored(ball(inner), ball(outer), tolerance_mm=tolerance_mm)["nsd"] == pytest.approx(
            expected, abs=0.02
        )


def test_millimeters_grow_with_the_spacing_and_shares_do_not():
    doubled = tuple(2 * edge for edge in SPACING)
    one = scored(ball(12), box(), tolerance_mm=2.0)
    other = scored(ball(12), box(), tolerance_mm=4.0, spacing=doubled)
    assert other["hd95_mm"] == pytest.approx(2 * one["hd95_mm"])
    assert other["assd_mm"] == pytest.approx(2 * one["assd_mm"])
    assert other["nsd"] == pytest.approx(one["nsd"])


def test_a_spacing_that_was_rounded_does_not_decide():
    rounded = tuple(float(np.float32(edge)) for edge in (0.7, 0.9, 1.1))
    assert rounded[2] > 1.1
    for axis, exact in enumerate((0.7, 0.9, 1.1)):
        moved = box(moved=tuple(2 * (a == axis) for a in range(3)))
        assert scored(box(), moved, tolerance_mm=2 * exact, spacing=rounded)["nsd"] == 1


def test_a_speck_of_less_than_a_twentieth_of_the_surface_does_not_move_hd95():
    with_speck = box()
    with_speck[40, 45, 32] = True
    found = scored(box(), with_speck)
    assert found["hd95_mm"] == 0
    assert found["assd_mm"] > 0
    assert found["nsd"] < 1


def test_a_mask_lies_on_its_own_surface():
    assert scored(ball(12), ball(12), tolerance_mm=0.1) == {"hd95_mm": 0, "nsd": 1, "assd_mm": 0}


def test_truth_and_prediction_count_alike():
    assert scored(ball(12), box()) == pytest.approx(scored(box(), ball(12)))


@pytest.mark.parametrize(("truth", "predicted"), [(EMPTY, EMPTY), (EMPTY, box()), (box(), EMPTY)])
def test_an_empty_mask_has_no_surface(truth, predicted):
    found = scored(truth, predicted)
    assert list(found) == list(SURFACE_SCORES)
    assert all(math.isnan(value) for value in found.values())


def test_the_edge_of_the_scan_closes_a_surface():
    one, other = box(), box(moved=(3, 0, 0))
    tight = (slice(8, 35), slice(10, 36), slice(6, 28))
    assert scored(one[tight], other[tight]) == pytest.approx(scored(one, other))


def test_where_the_masks_lie_in_the_scan_does_not_matter():
    shifts = ((0, 0, 0), (3, -4, 5))
    one, other = (
        scored(np.roll(ball(12), by, (0, 1, 2)), np.roll(ball(10), by, (0, 1, 2))) for by in shifts
    )
    assert one == pytest.approx(other)


def test_masks_on_other_grids_are_refused():
    with pytest.raises(ScanError, match=r"must lie on one grid, got \(44, 50, 36\) and \(36"):
        scored(EMPTY, EMPTY.T)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_real_shapes_agree_with_monai_within_a_voxel(seed):
    truth = blobs(SHAPE, seed=seed, sigma=6) > 0.4
    predicted = truth ^ (blobs(SHAPE, seed=seed + 50, sigma=3) > 1.6)
    tensors = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
    found = scored(truth, predicted, tolerance_mm=2.0)
    options = {"include_background": True, "spacing": SPACING}
    hausdorff = compute_hausdorff_distance(*tensors, percentile=95, **options)
    average = compute_average_surface_distance(*tensors, symmetric=True, **options)
    surface_dice = compute_surface_dice(
        *tensors, class_thresholds=[2.0], use_subvoxels=True, **options
    )
    assert found["hd95_mm"] == pytest.approx(hausdorff.item(), abs=max(SPACING))
    assert found["assd_mm"] == pytest.approx(average.item(), abs=max(SPACING))
    assert found["nsd"] == pytest.approx(surface_dice.item(), abs=1e-5)


def by_the_library(truth, predicted, *, tolerance_mm, spacing) -> dict[str, float]:
    """The same scores by DeepMind's surface-distance."""
    found = surface_distance.compute_surface_distances(truth, predicted, spacing)
    there, back = found["distances_gt_to_pred"], found["distances_pred_to_gt"]
    areas, others = found["surfel_areas_gt"], found["surfel_areas_pred"]
    tolerance = tolerance_mm + ROUNDING_MM
    return {
        "hd95_mm": surface_distance.compute_robust_hausdorff(found, 95),
        "nsd": surface_distance.compute_surface_dice_at_tolerance(found, tolerance),
        "assd_mm": (there @ areas + back @ others) / (areas.sum() + others.sum()),
    }


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
@pytest.mark.parametrize("voxels_per_query", [0, 10**9])
@pytest.mark.parametrize("seed", range(12))
def test_every_score_equals_the_librarys(monkeypatch, seed, voxels_per_query):
    monkeypatch.setattr(nearest, "VOXELS_PER_QUERY", voxels_per_query)
    chance = np.random.default_rng(seed)
    shape = tuple(int(edge) for edge in chance.integers(6, 28, 3))
    spacing = tuple(float(edge) for edge in chance.uniform(0.4, 5, 3))
    sigma = float(chance.uniform(0.3, 3))
    truth, predicted = (
        blobs(shape, seed=seed + by, sigma=sigma) > chance.uniform(-0.5, 1.5) for by in (0, 100)
    )
    expected = by_the_library(truth, predicted, tolerance_mm=1.7, spacing=spacing)
    found = scored(truth, predicted, tolerance_mm=1.7, spacing=spacing)
    assert found == pytest.approx(expected, abs=1e-9)


THICK = (0.7, 0.7, 5.0)


def slab(slices: int, *, first: int = 1) -> np.ndarray:
    inside = np.zeros((36, 36, slices + 4), bool)
    inside[3:33, 3:33, first : first + slices] = True
    return inside


def by_monai(metric, truth, predicted, **options) -> float:
    tensors = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
    return metric(*tensors, include_background=True, spacing=THICK, **options).item()


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_in_thick_slices_the_average_is_over_area():
    """Two ends of 21 x 21 mm are 5 mm off (less near their rims), as is a strip of 5 mm of the
    sides, half of it on average; MONAI counts a voxel of an end like one of a side, seven times
    as large, and comes to more than three times the distance."""
    end, sides = 21 * 21, 4 * 21 * 20 * 5
    rim = end - 11 * 11  # of the end that lies inside the other slab: nearer to its sides
    inner = 5 * end - 2.5 * rim
    expected = (5 * end + inner + 2.5 * 4 * 21 * 5) / (2 * end + sides)
    found = scored(slab(20), slab(20, first=2), spacing=THICK)["assd_mm"]
    assert found == pytest.approx(expected, rel=0.1)
    theirs = by_monai(compute_average_surface_distance, slab(20), slab(20, first=2), symmetric=True)
    assert theirs > 3 * expected


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_in_thick_slices_the_percentile_is_of_area():
    """Ends and strip are under a twentieth of the area, and a fifth of the border voxels."""
    end, sides = 21 * 21, 4 * 21 * 90 * 5
    assert (2 * end + 4 * 21 * 5) / (2 * end + sides) < 0.05
    truth, predicted = slab(90), slab(90, first=2)
    assert scored(truth, predicted, spacing=THICK)["hd95_mm"] == 0
    assert by_monai(compute_hausdorff_distance, truth, predicted, percentile=95) > 3
