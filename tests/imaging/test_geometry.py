import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    CENTER,
    ORIENTATIONS,
    SHAPE,
    SPACING,
    affine_of,
    blobs,
    distance_to,
    off_center,
    rotation,
    turned,
)
from dyntransnet.imaging.geometry import (
    SLAB,
    Placement,
    axis_weights,
    orientation_of,
    resample,
)
from dyntransnet.scoring.metrics import dice

GRID_MM = (3.0, 2.0, 2.5)
COUNTS = st.integers(1, 60)
STEPS = st.floats(0.1, 10)


def positions(source: int, target: int, step: float) -> np.ndarray:
    """Where the target voxels lie, in source voxels."""
    return (np.arange(target) - (target - 1) / 2) * step + (source - 1) / 2


@given(source=COUNTS, target=COUNTS, step=STEPS)
def test_weights_of_a_voxel_sum_to_1(source, target, step):
    weights = axis_weights(source, target, step)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


@given(source=COUNTS, target=COUNTS, step=STEPS)
def test_weights_know_no_direction(source, target, step):
    weights = axis_weights(source, target, step)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-5)


def test_halving_averages_with_a_tent():
    tent = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    np.testing.assert_allclose(axis_weights(4, 2, 2.0), tent, rtol=1e-6)


def test_doubling_interpolates_and_repeats_the_edge():
    halves = np.array([[4, 0], [3, 1], [1, 3], [0, 4]]) / 4
    np.testing.assert_allclose(axis_weights(2, 4, 0.5), halves, rtol=1e-6)


def test_same_spacing_changes_nothing():
    np.testing.assert_array_equal(axis_weights(7, 7, 1.0), np.eye(7))


@pytest.mark.parametrize(
    ("step", "target"), [(0.3, 100), (0.77, 40), (1.0, 25), (2.0, 15), (3.0, 9)]
)
def test_ramps_keep_their_slope_and_place(step, target):
    at = positions(30, target, step)
    inside = (at >= step) & (at <= 29 - step)
    ramp = axis_weights(30, target, step) @ np.arange(30)
    np.testing.assert_allclose(ramp[inside], at[inside], atol=1e-4)
    assert inside.sum() >= 5


@pytest.mark.parametrize("step", [1.2, 1.5, 2.5, 3.7])
def test_uneven_shrinking_moves_a_ramp_by_less_than_a_tenth_voxel(step):
    at = positions(60, round(60 / step), step)
    inside = (at >= step) & (at <= 59 - step)
    ramp = axis_weights(60, round(60 / step), step) @ np.arange(60)
    assert np.abs(ramp - at)[inside].max() < 0.1


@pytest.mark.parametrize(
    ("code", "order", "flipped"),
    [
        ("RAS", (0, 1, 2), (False, False, False)),
        ("LPS", (0, 1, 2), (True, True, False)),
        ("ASL", (2, 0, 1), (False, False, True)),
        ("SRP", (1, 2, 0), (False, False, True)),
    ],
)
@pytest.mark.parametrize("tilt_deg", [0, 20])
def test_orientation_names_order_and_flips(code, order, flipped, tilt_deg):
    assert orientation_of(affine_of(code=code, tilt_deg=tilt_deg)) == (order, flipped)


def test_the_grid_covers_the_scan_at_its_own_spacing():
    placement = Placement.of((100, 90, 40), affine_of(spacing=(1.5, 0.9, 4)), GRID_MM)
    volume = placement.volume_of(np.zeros((100, 90, 40), np.int16))
    assert volume.shape == (50, 40, 64)  # 150 / 3, 81 / 2, 160 / 2.5


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_a_marked_point_lands_where_it_lies_in_the_world(code):
    shape, spacing = (40, 46, 30), (1.5, 1.2, 2.0)
    affine = affine_of(shape, spacing, code)
    point = off_center(9, -7, 5)
    blob = np.exp(-((distance_to(shape, affine, point) / 5) ** 2)).astype(np.float32)
    volume = Placement.of(shape, affine, GRID_MM).volume_of(blob)
    index = (np.indices(volume.shape) * volume).sum(axis=(1, 2, 3)) / volume.sum()
    expected = (point - CENTER) / GRID_MM + (np.array(volume.shape) - 1) / 2
    np.testing.assert_allclose(index, expected, atol=0.02)


def test_oblique_grids_lie_along_the_scan():
    shape, spacing = (40, 46, 30), (1.5, 1.2, 2.0)
    affine = affine_of(shape, spacing, "LPS", tilt_deg=15)
    point = CENTER + rotation(15) @ (9, -7, 5)
    blob = np.exp(-((distance_to(shape, affine, point) / 5) ** 2)).astype(np.float32)
    volume = Placement.of(shape, affine, GRID_MM).volume_of(blob)
    index = (np.indices(volume.shape) * volume).sum(axis=(1, 2, 3)) / volume.sum()
    expected = np.array((9, -7, 5)) / GRID_MM + (np.array(volume.shape) - 1) / 2
    np.testing.assert_allclose(index, expected, atol=0.02)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (True, True, True)])
def test_how_a_scan_is_stored_does_not_change_its_volume(order, flips):
    voxels, affine = blobs(SHAPE, seed=2), affine_of(code="LAS", tilt_deg=10)
    stored, along = turned(voxels, affine, order, flips)
    expected = Placement.of(SHAPE, affine, GRID_MM).volume_of(voxels)
    volume = Placement.of(stored.shape, along, GRID_MM).volume_of(stored)
    np.testing.assert_allclose(volume, expected, atol=1e-5)


@given(
    shape=st.tuples(*[st.integers(2, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 8)] * 3),
    code=st.sampled_from(ORIENTATIONS),
)
def test_a_constant_stays_constant_both_ways(shape, spacing, code):
    placement = Placement.of(shape, affine_of(shape, spacing, code), GRID_MM)
    volume = placement.volume_of(np.full(shape, 7, np.int16))
    back = resample(placement.on_scan_axes(volume), placement.to_scan)
    np.testing.assert_allclose(volume, 7, rtol=1e-5)
    np.testing.assert_allclose(back, 7, rtol=1e-5)
    assert back.shape == shape


def test_interpolation_agrees_with_simpleitk():
    voxels, affine = blobs(SHAPE, seed=3) * 100, affine_of()
    fine_mm = (1.1, 0.7, 2.7)
    volume = Placement.of(SHAPE, affine, fine_mm).volume_of(voxels)
    image = sitk.GetImageFromArray(voxels.T)
    image.SetSpacing(SPACING)
    origin = (np.array(SHAPE) - 1) / 2 * SPACING - (np.array(volume.shape) - 1) / 2 * fine_mm
    other = sitk.Resample(
        image, volume.shape, sitk.Transform(), sitk.sitkLinear, tuple(origin), fine_mm
    )
    inside = (slice(1, -1),) * 3
    expected = sitk.GetArrayFromImage(other).T[inside]
    np.testing.assert_allclose(volume[inside], expected, atol=1e-2)


@pytest.mark.parametrize("tilt_deg", [0, 18])
@pytest.mark.parametrize("code", ["RAS", "LPS", "SRP", "AIL"])
def test_a_smooth_mask_survives_the_way_there_and_back(code, tilt_deg):
    shape, spacing = (60, 70, 40), (1.4, 1.1, 2.5)
    affine = affine_of(shape, spacing, code, tilt_deg=tilt_deg)
    ball = distance_to(shape, affine, off_center(4, 3, -2)) < 30
    placement = Placement.of(shape, affine, GRID_MM)
    volume = placement.volume_of(ball.astype(np.int16))
    back = resample(placement.on_scan_axes(volume), placement.to_scan) >= 0.5
    assert dice(ball, back) > 0.97


@pytest.mark.parametrize("slices", [1, SLAB, SLAB + 1, 3 * SLAB - 1])
def test_slabs_join_to_the_plain_product(slices):
    voxels = blobs((7, 9, 23), seed=4)
    matrices = (
        axis_weights(7, 5, 1.4),
        axis_weights(9, 11, 0.8),
        axis_weights(23, slices, 23 / slices),
    )
    expected = np.einsum("xyz,ax,by,cz->abc", voxels, *matrices)
    np.testing.assert_allclose(resample(voxels, matrices), expected, atol=1e-5)


def test_a_scan_smaller_than_a_voxel_of_the_grid_is_one_voxel():
    placement = Placement.of((2, 2, 2), affine_of((2, 2, 2), (1, 1, 1)), (5.0, 5.0, 5.0))
    voxels = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    assert placement.volume_of(voxels) == pytest.approx(3.5)
