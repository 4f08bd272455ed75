import json

import numpy as np
import pytest

from builders import affine_of, distance_to, off_center
from dyntransnet.imaging.lesions import find_lesions, measure
from dyntransnet.imaging.scan import Mask

SHAPE, SPACING = (30, 40, 20), (1.5, 0.9, 4.0)
OBLIQUE = affine_of(SHAPE, SPACING, "PIR", tilt_deg=17)


def mask_of(affine: np.ndarray = OBLIQUE, **boxes: tuple[tuple[int, int], ...]) -> Mask:
    """Boxes of label 1 and 2: ``liver``, and whatever else, as (first, last + 1) per axis."""
    labels = np.zeros(SHAPE, np.uint8)
    for name, edges in boxes.items():
        labels[tuple(slice(*edge) for edge in edges)] = 1 if name == "liver" else 2
    return Mask(labels, affine)


def test_a_box_has_its_volume_diameter_and_center():
    mask = mask_of(tumor=((2, 8), (10, 15), (3, 7)))
    (lesion,) = find_lesions(mask)
    assert lesion.voxels == 6 * 5 * 4
    assert lesion.volume_ml == pytest.approx(120 * 1.5 * 0.9 * 4 / 1000)
    assert lesion.diameter_mm == pytest.approx((6 * lesion.volume_ml * 1000 / np.pi) ** (1 / 3))
    assert lesion.center_mm == pytest.approx(tuple(OBLIQUE @ [4.5, 12, 4.5, 1])[:3])


@pytest.mark.parametrize("code", ["RAS", "LPS", "AIL"])
def test_a_sphere_has_its_diameter_and_center(code):
    shape, spacing = (60, 80, 40), (0.8, 0.6, 1.2)
    affine = affine_of(shape, spacing, code, tilt_deg=9)
    inside = distance_to(shape, affine, off_center(2, -3, 1)) < 15
    (lesion,) = find_lesions(Mask(2 * inside.astype(np.uint8), affine))
    assert lesion.diameter_mm == pytest.approx(30, rel=0.005)
    assert lesion.volume_ml == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.01)
    assert lesion.center_mm == pytest.approx(tuple(off_center(2, -3, 1)), abs=0.05)


def test_voxels_that_share_a_corner_are_one_lesion():
    mask = mask_of(one=((2, 4), (2, 4), (2, 4)), other=((4, 5), (4, 5), (4, 5)))
    assert [lesion.voxels for lesion in find_lesions(mask)] == [9]


@pytest.mark.parametrize("axis", range(3))
def test_a_gap_of_one_voxel_makes_two_lesions(axis):
    one = [(2, 5), (2, 5), (2, 5)]
    other = one.copy()
    other[axis] = (6, 8)
    found = find_lesions(mask_of(one=tuple(one), other=tuple(other)))
    assert [lesion.voxels for lesion in found] == [27, 18]


def test_lesions_are_listed_largest_first():
    mask = mask_of(
        a=((0, 1), (0, 1), (0, 1)), b=((9, 13), (9, 13), (9, 13)), c=((20, 22), (20, 22), (5, 7))
    )
    assert [lesion.voxels for lesion in find_lesions(mask)] == [64, 8, 1]


def test_liver_holds_its_tumors_and_burden_is_their_share():
    mask = mask_of(liver=((5, 15), (5, 25), (5, 15)), tumor=((6, 11), (6, 16), (6, 16)))
    findings = measure(mask)
    assert findings.liver_ml == pytest.approx((2000 + 50) * 5.4 / 1000)
    assert findings.tumor_ml == pytest.approx(500 * 5.4 / 1000)
    assert findings.tumor_burden == pytest.approx(500 / 2050)


def test_lesions_add_up_to_the_tumor_volume():
    labels = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    findings = measure(Mask(labels, OBLIQUE))
    assert sum(lesion.volume_ml for lesion in findings.lesions) == pytest.approx(findings.tumor_ml)


def test_an_empty_mask_has_no_findings():
    findings = measure(mask_of())
    assert (findings.liver_ml, findings.tumor_ml, findings.tumor_burden) == (0, 0, 0)
    assert findings.lesions == ()


def test_the_grid_is_described_in_voxel_order():
    findings = measure(mask_of())
    assert findings.shape == SHAPE
    assert findings.spacing_mm == pytest.approx(SPACING)


def test_findings_go_through_json_unchanged():
    findings = measure(mask_of(tumor=((2, 8), (10, 15), (3, 7))))
    assert type(findings).model_validate_json(json.dumps(findings.to_json())) == findings
