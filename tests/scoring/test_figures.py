from pathlib import Path

import numpy as np
import pytest
from matplotlib import image as png

from builders import ORIENTATIONS, affine_of, blobs, case_of, turned
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.scoring.figures import draw_overlay
from dyntransnet.scoring.planes import WINDOW_HU, look_of, point_of_interest, to_ras

SHAPE = (22, 30, 16)
SPACING = (2.0, 1.5, 3.0)  # three planes of about one size


def panel(path: Path, number: int) -> np.ndarray:
    """Gray values of one of the three planes, without title and legend."""
    picture = png.imread(path)[:, :, :3]
    height, width = picture.shape[:2]
    part = picture[height // 4 : 3 * height // 4, number * width // 3 : (number + 1) * width // 3]
    return part.mean(axis=2)


def drawn(tmp_path: Path, code: str, world: int) -> Path:
    """A scan that is bright towards the patient's right, front or head."""
    array = np.full(SHAPE, -100, np.int16)
    np.moveaxis(array, world, 0)[SHAPE[world] // 2 :] = 240
    order = tuple(next(w for w, s in enumerate(("RL", "AP", "SI")) if side in s) for side in code)
    flips = tuple(side in "LPI" for side in code)
    voxels, affine = turned(array, affine_of(SHAPE, SPACING), order, flips)
    empty = Mask(np.zeros(voxels.shape, np.uint8), affine)
    draw_overlay(
        Scan("half", voxels, affine),
        empty,
        tmp_path / "half.png",
        truth=None,
        title="half",
        modality="CT",
    )
    return tmp_path / "half.png"


@pytest.mark.parametrize("code", ["RAS", "LPS", "SLA"])
def test_the_patients_right_is_on_the_left(tmp_path, code):
    axial = panel(drawn(tmp_path, code, world=0), 0)
    middle = axial.shape[1] // 2
    assert axial[:, : middle - 20].mean() > 2 * axial[:, middle + 20 :].mean()


@pytest.mark.parametrize("code", ["RAS", "LPI", "SLA"])
def test_the_head_is_up(tmp_path, code):
    coronal = panel(drawn(tmp_path, code, world=2), 1)
    middle = coronal.shape[0] // 2
    assert coronal[: middle - 20].mean() > 2 * coronal[middle + 20 :].mean()


@pytest.mark.parametrize("code", ["RAS", "LPS"])
def test_the_front_is_up_in_the_axial_plane(tmp_path, code):
    axial = panel(drawn(tmp_path, code, world=1), 0)
    middle = axial.shape[0] // 2
    assert axial[: middle - 20].mean() > 2 * axial[middle + 20 :].mean()


@pytest.mark.parametrize("with_truth", [True, False])
def test_outlines_of_both_masks_are_drawn(tmp_path, with_truth):
    scan, mask = case_of()
    shifted = Mask(np.roll(mask.labels, 3, axis=0), mask.affine)
    draw_overlay(
        scan, shifted, tmp_path / "a.png", truth=mask if with_truth else None, title="Dice 0.5"
    )
    red, green, blue = np.moveaxis(png.imread(tmp_path / "a.png")[:, :, :3], 2, 0)
    assert ((red > 0.8) & (blue < 0.4)).any()
    assert ((green > 0.6) & (red < 0.4)).any() == with_truth


@pytest.mark.parametrize("code", ORIENTATIONS[::7])
def test_to_ras_turns_every_grid_the_same_way(code):
    array = blobs(SHAPE, seed=1)
    order = tuple(next(w for w, s in enumerate(("RL", "AP", "SI")) if side in s) for side in code)
    stored, affine = turned(array, affine_of(SHAPE), order, tuple(side in "LPI" for side in code))
    np.testing.assert_array_equal(to_ras(stored, affine), array)


def test_the_point_of_interest_is_the_middle_of_the_tumor():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:18, 4:20, 3:15] = 1
    labels[10:13, 5, 5] = labels[11, 4:7, 5] = labels[11, 5, 4:7] = 2
    assert point_of_interest(labels) == (11, 5, 5)


def test_without_tumors_the_liver_is_of_interest():
    labels = np.zeros(SHAPE, np.uint8)
    labels[3, 4, 5] = 1
    assert point_of_interest(labels) == (3, 4, 5)


def test_an_empty_mask_is_seen_in_the_middle():
    assert point_of_interest(np.zeros(SHAPE, np.uint8)) == (11, 15, 8)


def test_the_body_is_cut_out_of_the_air():
    image = np.full(SHAPE, -1000, np.int16)
    image[3:9, 20:30, 5] = 40
    assert look_of(image).body == (slice(3, 9), slice(20, 30), slice(5, 6))


def test_where_all_is_air_nothing_is_cut():
    image = np.full(SHAPE, -1000, np.int16)
    assert image[look_of(image).body].shape == SHAPE


def mri() -> np.ndarray:
    """A body of 400 to 1600 in noise of 0 to 9, and one voxel that is far too bright."""
    chance = np.random.default_rng(5)
    image = chance.integers(0, 10, SHAPE).astype(np.float32)
    image[4:18, 6:25, 2:15] = chance.uniform(400, 1600, (14, 19, 13))
    image[10, 10, 10] = 60_000
    return image


@pytest.mark.parametrize("modality", ["MR", None])
def test_an_mri_is_shown_from_its_air_to_its_brightest(modality):
    look = look_of(mri(), modality)
    assert look.body == (slice(4, 18), slice(6, 25), slice(2, 15))
    assert 0 <= look.window[0] < 10
    assert 1500 < look.window[1] < 1700


def test_a_picture_of_an_mri_is_not_white_all_over(tmp_path):
    affine = affine_of(SHAPE, SPACING, "LPS")
    empty = Mask(np.zeros(SHAPE, np.uint8), affine)
    draw_overlay(Scan("mri", mri(), affine), empty, tmp_path / "a.png", truth=None, title="")
    axial = panel(tmp_path / "a.png", 0)
    assert (axial > 0.98).mean() < 0.1
    assert axial[axial > 0.1].std() > 0.05


def test_what_is_shown_is_a_matter_of_the_modality_where_it_is_known():
    image = mri() - 500  # below -150, as only Hounsfield units are
    assert look_of(image).window == look_of(image, "CT").window == WINDOW_HU
    assert look_of(image, "MR").window[1] > 1000


def test_an_image_of_one_value_has_a_window():
    low, high = look_of(np.full(SHAPE, 7, np.int16)).window
    assert low < high
