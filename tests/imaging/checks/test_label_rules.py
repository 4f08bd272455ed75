import numpy as np
import pytest

from builders import affine_of, distance_to, off_center
from dyntransnet.errors import ScanError
from dyntransnet.imaging.checks.labels import (
    apart_from_liver,
    check_labeled,
    check_tumors_in_liver,
)
from dyntransnet.imaging.scan import Mask, Scan

SHAPE = (36, 96, 19)
AFFINE = affine_of(SHAPE, (1.5, 0.9, 4.0), "LSA", tilt_deg=8)
LIVER_MM = 15.0


def mask_with(*tumors: tuple[float, float]) -> Mask:
    """A ball of liver around the center, and balls (distance, radius) of tumor beside it."""
    labels = (distance_to(SHAPE, AFFINE, off_center(0, 0, 0)) < LIVER_MM).astype(np.uint8)
    for distance_mm, radius_mm in tumors:
        along = AFFINE[:3, 1] / 0.9  # a voxel axis, so that distances are whole voxels
        center = off_center(*(along * distance_mm))
        labels[distance_to(SHAPE, AFFINE, center) < radius_mm] = 2
    return Mask(labels, AFFINE)


def scan() -> Scan:
    return Scan("case", np.zeros(SHAPE, np.int16), AFFINE)


@pytest.mark.parametrize(
    "mask",
    [mask_with(), mask_with((0, 5)), mask_with((LIVER_MM + 2, 4)), mask_with((LIVER_MM + 8, 4))],
    ids=["none", "inside", "at the edge", "nearby"],
)
def test_tumors_of_the_liver_are_sound(mask):
    check_tumors_in_liver(scan(), mask)


def test_a_tumor_without_any_liver_is_refused():
    with pytest.raises(ScanError, match="got 1 apart from it, ") as caught:
        check_tumors_in_liver(scan(), mask_with((0, LIVER_MM + 1)))
    assert caught.value.code == "tumor-outside-liver"


@pytest.mark.parametrize(("slices", "expected"), [(1, []), (2, []), (3, [1])])
def test_one_thick_slice_may_have_been_skipped(slices, expected):
    labels = np.zeros((9, 7, 8), np.uint8)
    labels[:, :, 0] = 1
    labels[4, 4, slices] = 2
    assert apart_from_liver(Mask(labels, affine_of((9, 7, 8), (1.0, 0.8, 4.5)))) == expected


@pytest.mark.parametrize(("columns", "expected"), [(6, []), (7, [1])])
def test_between_thin_slices_five_millimeters_are_near(columns, expected):
    labels = np.zeros((9, 12, 8), np.uint8)
    labels[:, 0] = 1
    labels[4, columns, 4] = 2
    assert apart_from_liver(Mask(labels, affine_of((9, 12, 8), (1.0, 0.8, 1.2)))) == expected


def test_a_stray_tumor_is_told_of_and_most_of_the_tumor_apart_is_refused():
    stray = mask_with((0, 6), (LIVER_MM + 15, 3))
    swapped = mask_with((0, 3), (LIVER_MM + 15, 6))
    for mask, code in ((stray, "tumor-stray"), (swapped, "tumor-outside-liver")):
        apart = (mask.labels == 2) & (distance_to(SHAPE, AFFINE, off_center(0, 0, 0)) > 22)
        whole = int((mask.labels == 2).sum())
        rule = f"got 1 apart from it, {int(apart.sum())} of {whole} voxels$"
        with pytest.raises(ScanError, match=rule) as caught:
            check_tumors_in_liver(scan(), mask)
        assert caught.value.code == code


def test_a_mask_without_a_label_is_refused():
    empty = Mask(np.zeros(SHAPE, np.uint8), AFFINE)
    with pytest.raises(ScanError, match="case: mask must have a liver, got no label"):
        check_labeled(scan(), empty)
    check_labeled(scan(), mask_with())
