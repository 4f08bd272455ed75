import numpy as np
import pytest

from builders import SHAPE, affine_of, case_of
from dyntransnet.imaging.checks.cases import find_problems
from dyntransnet.imaging.scan import Mask, Scan


def codes(scan: Scan, mask: Mask, modality="CT") -> list[str]:
    return [problem.code for problem in find_problems("case", scan, mask, modality)]


def test_a_sound_case_has_no_problem():
    assert codes(*case_of(affine=affine_of(code="SAL", tilt_deg=20))) == []


def test_all_that_is_wrong_is_found_at_once():
    voxels = np.full(SHAPE, 1100, np.int16)
    scan = Scan("case", voxels, np.diag([-1.0, -1.0, 1.0, 1.0]))
    beside = scan.affine.copy()
    beside[2, 3] = 0.05
    mask = Mask(np.zeros(SHAPE, np.uint8), beside)
    assert codes(scan, mask) == [
        "spacing-missing",
        "mask-snapped",
        "mask-empty",
        "voxels-constant",
        "not-hounsfield",
        "hounsfield-no-fat",
    ]


def test_units_of_ct_are_not_asked_of_mr():
    scan, mask = case_of()
    bright = Scan("case", scan.voxels + np.int16(1500), scan.affine)
    assert codes(bright, mask) == ["not-hounsfield", "hounsfield-no-fat"]
    assert codes(bright, mask, "MR") == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda scan, mask: (scan, Mask(mask.labels[:-1], mask.affine)), "mask-shape"),
        (lambda scan, mask: (scan, Mask(mask.labels, affine_of(code="LAS"))), "mask-off-grid"),
        (lambda scan, mask: (Scan("case", scan.voxels[:, :1], scan.affine), mask), "edge-short"),
        (lambda scan, mask: (Scan("case", scan.voxels, scan.affine * 0), mask), "affine-singular"),
    ],
)
def test_without_a_common_grid_nothing_else_is_asked(change, code):
    scan, mask = change(*case_of())
    assert codes(scan, Mask(mask.labels * 0, mask.affine)) == [code]
