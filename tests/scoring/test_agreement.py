import numpy as np
import pytest

from builders import affine_of
from dyntransnet.errors import ParityError
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.agreement import compare_masks, compare_windows, summarize_agreement
from dyntransnet.scoring.parity import ParityLimits, disagreements

LIMITS = {"fp32": ParityLimits(relative_difference=1e-4, min_dice=0.999, max_dice_change=0.001)}
SHAPE = (10, 17, 16)


def constant(*values: float) -> np.ndarray:
    """Two windows of 5 x 8 x 9 voxels, with one value for each class."""
    logits = np.zeros((2, 2, 5, 8, 9), np.float32)
    return logits + np.reshape(values, (1, 2, 1, 1, 1)).astype(np.float32)


def mask(liver: int, tumor: int) -> Mask:
    """Slabs along x, from the middle: of so many slices each, the tumor within the liver."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2 : 2 + liver] = 1
    labels[2 : 2 + tumor] = 2
    return Mask(labels, affine_of(SHAPE, tilt_deg=10.0))


def test_the_difference_is_that_of_the_logits_and_dice_that_of_the_masks():
    row = compare_windows(constant(0.5, 1.0), constant(0.25, -1.0))
    assert row["max_difference"] == 2.0
    assert row["mean_difference"] == pytest.approx((0.25 + 2) / 2)
    assert row["dice"] == {"liver": 1.0, "tumor": 0.0}


def test_the_largest_difference_is_a_share_of_the_largest_expected_logit():
    row = compare_windows(constant(0.5, -8.0), constant(0.25, -8.5))
    assert (row["max_difference"], row["relative_difference"]) == (0.5, 0.0625)
    assert compare_windows(constant(0.0, 0.0), constant(0.0, 0.0))["relative_difference"] == 0


def test_voxels_that_change_their_class_are_counted():
    expected, found = constant(0.5, -1.0), constant(0.5, -1.0)
    found[0, 1, 0, 0, 0] = 0.0  # liver to tumor
    found[1, 0, 1, 2, :3] = -0.1  # liver to background
    row = compare_windows(expected, found)
    assert (row["changed"], row["voxels"]) == (4, 720)


def test_a_tumor_counts_as_liver_as_in_the_masks_that_are_served():
    row = compare_windows(constant(0.5, 1.0), constant(-0.5, 1.0))
    assert (row["changed"], row["dice"]["liver"]) == (0, 1.0)


def test_masks_that_are_empty_on_both_sides_agree():
    row = compare_windows(constant(-1, -1), constant(-1, -1))
    assert row["dice"] == {"liver": None, "tumor": None}
    assert summarize_agreement(row, {})["dice_min"] == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_break_the_limit(value):
    row = summarize_agreement(compare_windows(constant(0.5, 1.0), constant(value, 1.0)), {})
    (line, *_) = disagreements({"openvino fp32": row | {"precision": "fp32"}}, LIMITS)
    assert line == f"openvino fp32 logits must be within 0.0001 of torch's largest, got {value:.3g}"


def test_windows_of_other_shapes_than_torchs_are_a_disagreement():
    rule = r"logits must be of shape \(2, 2, 5, 8, 9\), got \(2, 1, "
    with pytest.raises(ParityError, match=rule):
        compare_windows(constant(0.5, 1.0), constant(0.5, 1.0)[:, :1])


def test_masks_of_a_scan_are_compared_with_each_other_and_the_truth():
    """Dice of slabs: 2 * shared / sum. Truth 4 and 2 slices, torch 4 and 2, tested 6 and 1."""
    row = compare_masks(mask(4, 2), mask(4, 2), mask(6, 1))
    assert row["dice"] == {"liver": pytest.approx(0.8), "tumor": pytest.approx(2 / 3)}
    assert row["dice_change"] == {"liver": pytest.approx(-0.2), "tumor": pytest.approx(-1 / 3)}
    assert row["changed"] == 3 * 17 * 16
    assert row["voxels"] == 10 * 17 * 16


def test_a_mask_nearer_to_the_truth_is_a_change_too():
    row = compare_masks(mask(4, 2), mask(4, 1), mask(4, 2))
    assert row["dice_change"] == {"liver": 0.0, "tumor": pytest.approx(1 / 3)}


@pytest.mark.parametrize(
    ("reference", "tested", "change"), [(0, 0, None), (0, 1, -1.0), (1, 0, 1.0), (1, 1, 0.0)]
)
def test_where_there_is_no_tumor_finding_none_is_right(reference, tested, change):
    row = compare_masks(mask(4, 0), mask(4, reference), mask(4, tested))
    assert row["dice_change"]["tumor"] == change


def test_the_lowest_dice_is_that_of_any_scan_and_the_change_a_mean():
    windows = compare_windows(constant(0.5, 1.0), constant(0.5, 1.0))
    scans = {
        "a": compare_masks(mask(4, 2), mask(4, 2), mask(6, 1)),
        "b": compare_masks(mask(4, 0), mask(4, 0), mask(4, 0)),
    }
    found = summarize_agreement(windows, scans)
    assert found["dice_min"] == pytest.approx(2 / 3)
    assert found["dice_change"] == {"liver": pytest.approx(-0.1), "tumor": pytest.approx(-1 / 3)}
    assert found["scans"] == scans
    assert found["windows"] == {
        "voxels": 720,
        "changed": 0,
        "dice": {"liver": 1.0, "tumor": 1.0},
        "marked": {"liver": 720, "tumor": 720},
    }


def test_what_hangs_on_single_voxels_is_told_and_held_to_no_limit():
    """One slice is 272 voxels, two are 544."""
    windows = compare_windows(constant(1, -1), constant(1, -1))
    small = {"a": compare_masks(mask(4, 1), mask(4, 1), mask(4, 0))}
    assert small["a"]["dice"]["tumor"] == 0.0
    assert small["a"]["dice_change"]["tumor"] == -1.0
    found = summarize_agreement(windows, small)
    assert (found["dice_min"], found["dice_change"]["tumor"]) == (1.0, None)
    large = {"a": compare_masks(mask(4, 1), mask(4, 0), mask(4, 2))}
    assert summarize_agreement(windows, large)["dice_min"] == 0.0


def test_without_scans_no_change_is_known():
    found = summarize_agreement(compare_windows(constant(1, 1), constant(1, 1)), {})
    assert found["dice_change"] == {"liver": None, "tumor": None}
