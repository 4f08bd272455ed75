from collections import defaultdict
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from dyntransnet.contract import Label
from dyntransnet.errors import ScanError
from dyntransnet.imaging.checks.grids import check_pair
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.phantom.recipes import (
    AXES,
    Recipe,
    make_phantom,
    read_recipes,
    write_phantoms,
)
from dyntransnet.imaging.scan import read_mask, read_scan

RECIPES = read_recipes(Path(__file__).parents[2] / "data" / "phantoms.yaml")
SCANNED_TWICE = [(7, 8), (15, 16)]
SOME = [1, 2, 5, 7, 8, 9, 15, 16, 18]
"""Thick and thin slices, both tilts of the axes' order, an oblique one, 0 to 6 tumors."""

LINE = (
    "{number: 1, patient: a, seed: 1, spacing_mm: [2, 2, 3], shape: [9, 8, 7], "
    "orientation: LPS, tumors: 0}"
)
made = cache(make_phantom)


@pytest.fixture(params=SOME, ids=lambda number: f"case {number}")
def recipe(request):
    return RECIPES[request.param]


def coarse(number=0, **changes):
    sizes = {"spacing_mm": (2.4, 2.4, 5.0), "shape": (146, 120, 43), "orientation": "LPS"}
    return Recipe(**{"number": number, "patient": "a", "seed": 7, "tumors": 6} | sizes | changes)


def center_mm(inside, affine):
    return affine[:3, :3] @ np.argwhere(inside).mean(axis=0) + affine[:3, 3]


def best_threshold_dice(voxels, liver):
    def dice(low, high):
        window = (voxels >= low) & (voxels <= high)
        return 2 * np.count_nonzero(window & liver) / (window.sum() + liver.sum())

    return max(
        dice(low, low + width) for low, width in product(range(40, 121, 10), range(30, 100, 10))
    )


def test_mask_lies_on_its_scan(recipe):
    scan, mask = made(recipe)
    check_pair(scan, mask)
    assert scan.voxels.shape == recipe.shape
    assert scan.voxels.dtype == np.int16


def test_voxel_axes_run_where_the_orientation_says(recipe):
    affine = made(recipe)[0].affine
    for axis, letter in enumerate(recipe.orientation):
        world, sign = AXES[letter]
        assert sign * affine[world, axis] == pytest.approx(recipe.spacing_mm[axis], rel=0.02)


def test_tilt_turns_the_axes_but_keeps_the_spacing():
    affine = made(RECIPES[5])[0].affine
    assert np.linalg.norm(affine[:3, :3], axis=0) == pytest.approx(RECIPES[5].spacing_mm)
    assert np.abs(affine[:3, :3]).min() > 0.05


def test_liver_lies_right_and_spine_behind_it(recipe):
    scan, mask = made(recipe)
    liver = center_mm(mask.labels > 0, scan.affine)
    bone = center_mm(scan.voxels > 350, scan.affine)
    assert liver[0] > 30
    assert bone[1] < liver[1] - 15
    assert abs(bone[0]) < 20


def test_every_tumor_is_there_and_apart(recipe):
    assert len(measure(made(recipe)[1]).lesions) == recipe.tumors


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_six_tumors_survive_the_coarsest_grid(seed):
    assert len(measure(made(coarse(seed=seed))[1]).lesions) == 6


def test_tumors_take_their_room_from_the_liver():
    with_tumors, healthy = (
        made(RECIPES[18])[1],
        made(RECIPES[18].model_copy(update={"tumors": 0}))[1],
    )
    assert np.array_equal(with_tumors.labels > 0, healthy.labels > 0)
    assert (with_tumors.labels == Label.TUMOR).any()


def test_liver_has_a_livers_size(recipe):
    assert 900 < measure(made(recipe)[1]).liver_ml < 2200


@pytest.mark.parametrize(("one", "other"), SCANNED_TWICE)
def test_two_scans_of_a_patient_show_one_anatomy(one, other):
    first, second = (measure(made(RECIPES[number])[1]) for number in (one, other))
    assert first.liver_ml == pytest.approx(second.liver_ml, rel=0.03)
    for lesion, again in zip(first.lesions, second.lesions, strict=True):
        assert lesion.center_mm == pytest.approx(again.center_mm, abs=2.5)


@pytest.mark.parametrize(("one", "other"), SCANNED_TWICE)
def test_two_scans_of_a_patient_differ_in_noise(one, other):
    same_grid = RECIPES[other].model_copy(update={"number": one})
    assert not np.array_equal(made(RECIPES[other])[0].voxels, made(same_grid)[0].voxels)


def test_no_threshold_finds_the_liver(recipe):
    scan, mask = made(recipe)
    assert best_threshold_dice(scan.voxels, mask.labels > 0) < 0.8


def test_hounsfield_units_are_those_of_ct(recipe):
    scan, mask = made(recipe)
    liver = scan.voxels[mask.labels == Label.LIVER]
    assert 80 < np.median(liver) < 140
    assert 10 < liver.std() < 35
    assert np.percentile(scan.voxels, 20) < -900
    assert 300 < np.percentile(scan.voxels, 99.9) < 1200


def test_tumors_are_darker_than_the_liver():
    scan, mask = made(RECIPES[15])
    tumor, liver = (np.median(scan.voxels[mask.labels == k]) for k in (Label.TUMOR, Label.LIVER))
    assert liver - 70 < tumor < liver - 15


def test_recipe_fixes_every_voxel():
    scan, mask = make_phantom(coarse())
    again, mask_again = make_phantom(coarse())
    assert np.array_equal(scan.voxels, again.voxels)
    assert np.array_equal(mask.labels, mask_again.labels)


def test_files_are_named_as_in_lits_and_hold_the_phantom(tmp_path):
    small = [coarse(number, spacing_mm=(5, 5, 5), shape=(70, 60, 43)) for number in (3, 12)]
    write_phantoms(small, tmp_path / "one")
    write_phantoms(small, tmp_path / "two")
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {f"{kind}-{n}.nii.gz" for kind in ("volume", "segmentation") for n in (3, 12)}
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    scan, mask = make_phantom(small[1])
    assert np.array_equal(read_scan(tmp_path / "one" / "volume-12.nii.gz").voxels, scan.voxels)
    assert np.array_equal(
        read_mask(tmp_path / "one" / "segmentation-12.nii.gz").labels, mask.labels
    )


def test_recipes_hold_two_patients_scanned_twice():
    scans = defaultdict(list)
    for recipe in RECIPES:
        scans[recipe.patient].append(recipe)
    twice = [pair for pair in scans.values() if len(pair) == 2]
    assert [tuple(recipe.number for recipe in pair) for pair in twice] == SCANNED_TWICE
    assert all(one.seed == other.seed and one.tumors == other.tumors for one, other in twice)
    assert len({recipe.seed for recipe in RECIPES}) == len(scans) == len(RECIPES) - 2


def test_recipes_hold_every_number_of_tumors():
    assert {recipe.tumors for recipe in RECIPES} == set(range(7))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"- {LINE}\n- {LINE}", "case numbers must differ, got 1 twice"),
        (f"- {LINE.replace('LPS', 'LPL')}", "orientation.* one of S I, got LPL"),
        (f"- {LINE.replace('tumors: 0', 'tumors: 7')}", r"0\.tumors is not valid"),
        (f"- {LINE.replace('seed', 'sede')}", r"0\.se.* is not valid"),
        ("[", "must be YAML"),
        ("number: 1", "the file is not valid"),
    ],
)
def test_bad_recipes_are_named(tmp_path, text, message):
    path = tmp_path / "phantoms.yaml"
    path.write_text(text)
    with pytest.raises(ScanError, match=message):
        read_recipes(path)


def test_missing_recipes_are_named(tmp_path):
    with pytest.raises(ScanError, match=r"none\.yaml: recipes must be readable"):
        read_recipes(tmp_path / "none.yaml")
