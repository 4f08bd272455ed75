import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from builders import blobs
from caches import STILL
from dyntransnet.config import AugmentParams
from dyntransnet.learning import augment as module
from dyntransnet.learning.augment import augment, bending, margin_for, relight, thicken

WINDOW, PATCH = (26, 22, 30), (16, 12, 24)
CUBES = (1.0, 1.0, 1.0)
WILD = {
    "flip_axes": ("x", "y", "z"),
    "rotation_deg": 30,
    "scale": 0.3,
    "elastic_mm": 2,
    "thick_slices": 0.5,
    "slice_mm": 4,
    "intensity_shift": 0.5,
    "intensity_scale": 0.5,
    "noise": 0.3,
}

patches = st.tuples(*[st.integers(2, 9).map(lambda half: 2 * half)] * 3)
spacings = st.tuples(*[st.floats(0.5, 5)] * 3)
seeds = st.integers(0, 2**32)


def params(**changes) -> AugmentParams:
    return AugmentParams.model_validate(STILL.model_dump() | changes)


def chances(count: int = 1, seed: int = 0) -> list[torch.Generator]:
    """One for each window, far apart."""
    return [torch.Generator().manual_seed(seed + 7_919 * index) for index in range(count)]


def window(count: int = 1, shape=WINDOW) -> torch.Tensor:
    """Smooth values in [-1, 1]; every sample of the batch is the same."""
    values = torch.from_numpy(blobs(shape, seed=1)).clamp(-3, 3) / 3
    return values.expand(count, 1, *shape).contiguous()


def labels(image: torch.Tensor) -> torch.Tensor:
    return (image > 0).float() + (image > 0.3).float()


def central(array: torch.Tensor, patch=PATCH) -> torch.Tensor:
    first = [(size - edge) // 2 for size, edge in zip(array.shape[2:], patch, strict=True)]
    x, y, z = (slice(at, at + edge) for at, edge in zip(first, patch, strict=True))
    return array[:, :, x, y, z]


def turn_about(axis: int, angle: float, monkeypatch) -> None:
    """Every rotation is this one; torch counts axes from the last."""
    vector = torch.zeros(1, 3)
    vector[0, 2 - axis] = angle
    skew = module._skew
    monkeypatch.setattr(module, "_skew", lambda drawn: skew(vector.expand_as(drawn)))


@given(patch=patches, margin=st.tuples(*[st.integers(0, 4).map(lambda half: 2 * half)] * 3))
@settings(max_examples=25, deadline=None)
def test_without_augmentation_the_center_of_the_window_comes_back(patch, margin):
    full = tuple(edge + more for edge, more in zip(patch, margin, strict=True))
    image = window(2, full)
    found, label = augment(image, labels(image), patch, STILL, CUBES, chances(2))
    torch.testing.assert_close(found, central(image, patch), rtol=0, atol=1e-5)
    torch.testing.assert_close(label, central(labels(image), patch), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "dim"), [("x", 2), ("y", 3), ("z", 4)])
def test_a_flip_mirrors_its_own_axis_in_half_of_the_windows(name, dim):
    image = window(32)
    found, label = augment(
        image, labels(image), PATCH, params(flip_axes=(name,)), CUBES, chances(32)
    )
    kept = central(image)[0]
    mirrored = np.flip(kept.numpy(), dim - 1)
    flipped = [not np.allclose(one, kept, atol=1e-4) for one in found]
    for one, is_flipped in zip(found, flipped, strict=True):
        np.testing.assert_allclose(one, mirrored if is_flipped else kept, atol=1e-5)
    np.testing.assert_array_equal(label[flipped][0], np.flip(labels(kept).numpy(), dim - 1))
    assert 4 < sum(flipped) < 28


def test_flips_of_three_axes_are_independent():
    image = window(96)
    found, _ = augment(image, image, PATCH, params(flip_axes=("x", "y", "z")), CUBES, chances(96))
    assert len(found.mul(1e3).round().unique(dim=0)) == 8


@pytest.mark.parametrize(("axis", "plane"), [(0, (1, 2)), (1, (2, 0)), (2, (0, 1))])
def test_a_quarter_turn_is_that_of_numpy(axis, plane, monkeypatch):
    turn_about(axis, math.pi / 2, monkeypatch)
    shape, patch = (24, 24, 24), PATCH
    image = window(1, shape)
    found, label = augment(image, labels(image), patch, STILL, CUBES, chances())
    turned = torch.rot90(image, 1, [2 + one for one in plane])
    torch.testing.assert_close(found, central(turned, patch), rtol=0, atol=1e-4)
    assert (label == central(labels(turned), patch)).float().mean() > 0.99


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("angle_deg", [-25, 10])
def test_a_turned_window_is_that_of_scipy(axis, angle_deg, monkeypatch):
    turn_about(axis, math.radians(angle_deg), monkeypatch)
    found, _ = augment(window(), window(), PATCH, STILL, CUBES, chances())
    back = Rotation.from_rotvec(-angle_deg * np.eye(3)[axis], degrees=True).as_matrix()
    middle = [(np.array(size) - 1) / 2 for size in (WINDOW, PATCH)]
    expected = ndimage.affine_transform(
        window()[0, 0].numpy(), back, middle[0] - back @ middle[1], PATCH, order=1, mode="nearest"
    )
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-4)


def test_a_point_moves_as_the_rotation_says(monkeypatch):
    turn_about(2, math.radians(30), monkeypatch)
    image = torch.zeros(1, 1, 25, 21, 29)
    image[0, 0, 12 + 6, 10, 14 + 3] = 1  # 6 voxels along x from the center, 3 along z
    found, _ = augment(image, image, (17, 13, 23), STILL, CUBES, chances())
    at = ndimage.center_of_mass(found[0, 0].numpy())
    expected = (8 + 6 * math.cos(math.pi / 6), 6 + 6 * math.sin(math.pi / 6), 11 + 3)
    np.testing.assert_allclose(at, expected, atol=0.25)


@given(patch=patches, full=patches, spacing=spacings, seed=seeds)
def test_bodies_are_turned_and_scaled_but_never_sheared(patch, full, spacing, seed):
    drawn = params(rotation_deg=40, scale=0.2)
    maps = module._matrices(torch.Size(full), patch, drawn, spacing, chances(4, seed))
    steps = torch.tensor(spacing[::-1])
    lengths = [steps * torch.tensor(size[::-1]) for size in (full, patch)]
    body = maps[:, :, :3] * lengths[0][:, None] / lengths[1]
    scale = torch.linalg.det(body) ** (1 / 3)
    rotation = body / scale[:, None, None]
    undone = rotation @ rotation.mT
    torch.testing.assert_close(undone, torch.eye(3).expand(4, 3, 3), atol=1e-4, rtol=0)
    assert ((scale > 0.799) & (scale < 1.201)).all()
    angles = Rotation.from_matrix(rotation.numpy()).as_rotvec(degrees=True)
    assert np.abs(angles).max() < 40.01
    assert not maps[:, :, 3].any()


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_the_result_stays_in_range_and_labels_stay_labels(seed):
    image = window(2)
    found, label = augment(image, labels(image), PATCH, params(**WILD), CUBES, chances(2, seed))
    assert found.shape == label.shape == (2, 1, *PATCH)
    assert found.abs().max() <= 1
    assert set(label.unique().tolist()) <= {0, 1, 2}


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_image_and_label_move_together(seed):
    inside = (window(2) > 0).float()
    moved = params(flip_axes=("x", "y", "z"), rotation_deg=30, scale=0.3)
    found, label = augment(2 * inside - 1, inside, PATCH, moved, CUBES, chances(2, seed))
    clear = found.abs() > 0.999
    assert clear.float().mean() > 0.3
    torch.testing.assert_close(label[clear], (found[clear] > 0).float(), rtol=0, atol=0)


def test_the_same_seed_gives_the_same_result():
    image = window(2)
    one, same, other = (
        augment(image, image, PATCH, params(**WILD), CUBES, chances(2, seed)) for seed in (5, 5, 6)
    )
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    assert not torch.equal(one[0], other[0])


def test_every_window_of_a_batch_is_changed_in_its_own_way():
    found, _ = augment(window(4), window(4), PATCH, params(rotation_deg=20), CUBES, chances(4))
    assert len(found.unique(dim=0)) == 4


@given(seed=seeds, spacing=spacings)
@settings(max_examples=20)
def test_no_voxel_is_bent_farther_than_allowed_and_neighbors_go_along(seed, spacing):
    field = bending(torch.Size(WINDOW), PATCH, params(elastic_mm=6), spacing, chances(2, seed))
    assert field.shape == (2, *PATCH, 3)
    half_mm = torch.tensor([edge * step / 2 for edge, step in zip(WINDOW, spacing, strict=True)])
    moved_mm = field * half_mm.flip(0)
    assert 2 < moved_mm.abs().max() < 6.0001
    for dim, edge in enumerate(PATCH, start=1):
        # Between two knots, the most that it can change by.
        assert (
            moved_mm.diff(dim=dim).abs().max() <= 12 * (module.BEND_KNOTS - 1) / (edge - 1) + 1e-4
        )


def test_bending_moves_along_the_axis_of_its_coordinate(monkeypatch):
    """A constant field of 6 mm along x, in voxels of 2 mm: the patch is seen 3 voxels farther."""
    field = torch.zeros(1, 3, *[module.BEND_KNOTS] * 3)
    field[:, 2] = 1  # torch counts axes from the last
    between = module._between
    monkeypatch.setattr(
        module, "_between", lambda drawn, *size: field if len(size) == 4 and size[0] == 3
        else between(drawn, *size),
    )  # fmt: skip
    image = window(1)
    found, _ = augment(image, image, PATCH, params(elastic_mm=6), (2.0, 1.0, 1.0), chances())
    expected = central(torch.roll(image, -3, dims=2))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_a_share_of_the_windows_is_shown_in_thick_slices():
    image = torch.randn(200, 1, 4, 4, 24, generator=torch.Generator().manual_seed(0))
    chosen = params(thick_slices=0.5, slice_mm=8)
    found = thicken(image, chosen, (1.0, 1.0, 2.0), chances(200))
    # The first amounts leave as many slices as there were.
    changed = [not torch.equal(one, same) for one, same in zip(found, image, strict=True)]
    assert 70 < sum(changed) < 120


def test_thick_slices_are_means_and_no_more_than_asked_for(monkeypatch):
    monkeypatch.setattr(module, "_between", lambda drawn, *_: torch.ones(len(drawn)) * 0.999)
    image = torch.randn(1, 1, 3, 5, 24, generator=torch.Generator().manual_seed(0))
    found = thicken(image, params(thick_slices=1, slice_mm=6), (1.0, 1.0, 2.0), chances())
    slabs = image.unflatten(4, (8, 3)).mean(5)
    torch.testing.assert_close(found[..., 1::3], slabs, rtol=0, atol=1e-5)


def test_slices_thinner_than_the_grid_change_nothing():
    image = window(2)
    found = thicken(image, params(thick_slices=1, slice_mm=2), (1.0, 1.0, 3.0), chances(2))
    assert torch.equal(found, image)


@given(seed=seeds)
@settings(max_examples=20)
def test_light_changes_by_one_factor_and_one_shift_within_bounds(seed):
    image = torch.linspace(-0.5, 0.5, 24).reshape(1, 1, 2, 3, 4)
    lit = relight(image, params(intensity_scale=0.2, intensity_shift=0.1), chances(1, seed))
    factor, shift = np.polyfit(image.flatten().numpy(), lit.flatten().numpy(), 1)
    assert 0.799 < factor < 1.201
    assert abs(shift) < 0.1001
    torch.testing.assert_close(lit, (factor * image + shift).float(), rtol=0, atol=1e-5)


def test_noise_has_the_deviation_asked_for():
    lit = relight(torch.zeros(1, 1, 30, 40, 50), params(noise=0.05), chances())
    assert lit.std().item() == pytest.approx(0.05, rel=4 / math.sqrt(2 * 60_000))
    assert lit.mean().item() == pytest.approx(0, abs=4 * 0.05 / math.sqrt(60_000))


@given(
    patch=patches,
    spacing=spacings,
    angle=st.floats(-1, 1),
    axis=st.integers(0, 2),
    reach=st.floats(0, 120),
)
def test_a_patch_turned_about_one_axis_fits_in_its_window(patch, spacing, angle, axis, reach):
    drawn = params(rotation_deg=reach, scale=0.15)
    turn = Rotation.from_rotvec(angle * reach * np.eye(3)[axis], degrees=True).as_matrix()
    needed_mm = 1.15 * np.abs(turn) @ np.multiply(patch, spacing)
    assert (needed_mm <= np.multiply(margin_for(patch, drawn, spacing), spacing) + 1e-6).all()


def test_hardly_any_voxel_comes_from_beyond_the_window():
    drawn = params(rotation_deg=10, scale=0.1)
    full = margin_for((16, 24, 32), drawn, CUBES)
    maps = module._matrices(torch.Size(full), (16, 24, 32), drawn, CUBES, chances(500))
    corners = 2 * torch.rand(3, 1000, generator=chances()[0]) - 1
    beyond = ((maps[:, :, :3] @ corners).abs() > 1).any(1).float().mean(1)
    assert beyond.max() < 0.02


def test_without_augmentation_the_window_is_the_patch():
    assert margin_for((16, 20, 32), STILL, (1.0, 2.0, 5.0)) == (16, 20, 32)


def test_a_window_is_changed_alike_whatever_lies_beside_it():
    image = window(3)
    whole = augment(image, labels(image), PATCH, params(**WILD), CUBES, chances(3))
    alone = augment(image[1:2], labels(image[1:2]), PATCH, params(**WILD), CUBES, chances(3)[1:2])
    for one, same in zip(whole, alone, strict=True):
        torch.testing.assert_close(one[1:2], same, rtol=0, atol=1e-6)
