import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import DiceMetric

from builders import affine_of, case_of
from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.metrics import score_case, score_with_lesions, summarize
from dyntransnet.scoring.overlap import dice, overlap

SHAPE = (20, 6, 9)
NSD_MM = {"liver": 3.0, "tumor": 2.0}
MASKS = st.integers(1, 5).flatmap(
    lambda edge: st.tuples(*[arrays(np.bool_, (edge, 3, 7 - edge))] * 2)
)
EMPTY = np.zeros(SHAPE, bool)


def box(first: int, last: int) -> np.ndarray:
    """A slab across x."""
    inside = EMPTY.copy()
    inside[first:last, 1:5, 2:8] = True
    return inside


def mask_of(liver: np.ndarray, tumor: np.ndarray = EMPTY) -> Mask:
    labels = np.where(tumor, 2, np.where(liver, 1, 0)).astype(np.uint8)
    return Mask(labels, affine_of(SHAPE, (1.5, 0.5, 4.0), "PIR", tilt_deg=8))


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 0.9), (5, 0.5), (9, 0.1), (10, 0.0)])
def test_shifted_box_has_known_overlap(shift, expected):
    assert dice(box(0, 10), box(shift, shift + 10)) == pytest.approx(expected)


def test_half_a_box_has_two_thirds():
    assert dice(box(0, 10), box(0, 5)) == pytest.approx(2 / 3)


@given(masks=MASKS)
def test_dice_is_symmetric_and_bounded(masks):
    one, other = masks
    value = dice(one, other)
    assert value == dice(other, one) or (math.isnan(value) and not (one | other).any())
    assert math.isnan(value) or 0 <= value <= 1


@given(masks=MASKS)
def test_a_mask_agrees_with_itself(masks):
    assert dice(masks[0], masks[0]) == 1 or not masks[0].any()


@given(masks=MASKS)
def test_dice_lies_between_precision_and_recall(masks):
    both, in_truth, in_predicted = overlap(*masks)
    if both:
        edges = sorted([both / in_truth, both / in_predicted])
        assert edges[0] - 1e-9 <= dice(*masks) <= edges[1] + 1e-9


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_dice_agrees_with_monai(share):
    rng = np.random.default_rng(int(100 * share))
    one, other = (rng.random((2, *SHAPE)) < share).astype(bool)
    theirs = DiceMetric(include_background=True)(
        torch.from_numpy(one)[None, None], torch.from_numpy(other)[None, None]
    )
    assert dice(one, other) == pytest.approx(theirs.item())


def test_two_empty_masks_have_no_dice():
    assert math.isnan(dice(EMPTY, EMPTY))


@pytest.mark.parametrize(("truth", "predicted"), [(EMPTY, box(0, 1)), (box(0, 1), EMPTY)])
def test_one_empty_mask_scores_0(truth, predicted):
    assert dice(truth, predicted) == 0


def test_masks_on_other_grids_are_refused():
    with pytest.raises(ScanError, match=r"must lie on one grid, got \(20, 6, 9\) and \(9, 6, 20\)"):
        dice(EMPTY, np.zeros((9, 6, 20), bool))


def test_whole_liver_holds_the_tumors():
    truth = mask_of(box(0, 10), box(3, 5))
    scores = score_case(truth, mask_of(box(0, 10)))
    assert scores["liver"]["dice"] == 1
    assert scores["tumor"]["dice"] == 0


def test_precision_and_recall_of_a_box_too_long():
    row = score_case(mask_of(box(0, 6)), mask_of(box(2, 12)))["liver"]
    assert row["recall"] == pytest.approx(4 / 6)
    assert row["precision"] == pytest.approx(4 / 10)


def test_intersection_over_union_of_a_box_too_long():
    row = score_case(mask_of(box(0, 6)), mask_of(box(2, 12)))["liver"]
    assert row["iou"] == pytest.approx(4 / 12)
    assert row["iou"] == pytest.approx(row["dice"] / (2 - row["dice"]))


def test_volumes_are_milliliters_on_the_scans_own_grid():
    row = score_case(mask_of(box(0, 10)), mask_of(box(0, 7)))["liver"]
    voxel_ml = 1.5 * 0.5 * 4.0 / 1000
    assert row["truth_ml"] == pytest.approx(10 * 4 * 6 * voxel_ml)
    assert row["predicted_ml"] == pytest.approx(7 * 4 * 6 * voxel_ml)
    assert row["volume_error_ml"] == pytest.approx(-3 * 4 * 6 * voxel_ml)
    assert row["absolute_volume_error_ml"] == pytest.approx(3 * 4 * 6 * voxel_ml)


def test_what_has_no_meaning_is_nan():
    row = score_case(mask_of(box(0, 3)), mask_of(EMPTY))["liver"]
    assert (row["dice"], row["recall"]) == (0, 0)
    assert math.isnan(row["precision"])


def test_healthy_cases_are_counted_and_not_averaged():
    healthy = score_case(mask_of(box(0, 9)), mask_of(box(0, 9)))
    half = score_case(mask_of(box(0, 9), box(0, 4)), mask_of(box(0, 9), box(2, 6)))
    tumor = summarize([healthy, half, healthy])["tumor"]
    assert tumor["dice"] == tumor["dice_min"] == tumor["dice_median"] == pytest.approx(0.5)
    assert (tumor["cases"], tumor["scored"], tumor["both_empty"]) == (3, 1, 2)
    assert tumor["false_positive_cases"] == 0


def test_invented_tumors_are_counted_and_lower_the_mean():
    right = score_case(mask_of(box(0, 9), box(0, 4)), mask_of(box(0, 9), box(0, 4)))
    invented = score_case(mask_of(box(0, 9)), mask_of(box(0, 9), box(2, 6)))
    tumor = summarize([right, invented])["tumor"]
    assert (tumor["dice"], tumor["false_positive_cases"], tumor["both_empty"]) == (0.5, 1, 0)


def test_missed_tumors_are_no_false_positives():
    missed = score_case(mask_of(box(0, 9), box(2, 6)), mask_of(box(0, 9)))
    tumor = summarize([missed])["tumor"]
    assert (tumor["dice"], tumor["false_positive_cases"], tumor["missed_cases"]) == (0, 0, 1)


def test_errors_in_volume_cancel_only_with_their_sign():
    more, less = (score_case(mask_of(box(0, 9)), mask_of(box(0, 9 + by))) for by in (2, -2))
    liver = summarize([more, less])["liver"]
    assert liver["volume_error_ml"] == pytest.approx(0)
    assert liver["absolute_volume_error_ml"] == pytest.approx(2 * 24 * 0.003)


def test_a_mean_of_nothing_is_none():
    healthy = score_case(mask_of(box(0, 9)), mask_of(box(0, 9)))
    assert summarize([healthy])["tumor"]["dice"] is None
    assert summarize([])["liver"]["dice"] is None


def test_every_mean_leaves_out_what_is_not_defined():
    missed = score_case(mask_of(box(0, 4)), mask_of(EMPTY))
    found = score_case(mask_of(box(0, 4)), mask_of(box(0, 8)))
    liver = summarize([missed, found])["liver"]
    assert (liver["precision"], liver["recall"]) == (0.5, 0.5)


def test_real_shapes_score_1_against_themselves():
    _, mask = case_of()
    assert {row["dice"] for row in score_case(mask, mask).values()} == {1.0}


def test_surfaces_are_scored_with_the_tolerance_of_their_class():
    """Liver and tumor are both 2 slices of 1.5 mm too short on both sides."""
    truth, predicted = mask_of(box(0, 16), box(0, 16)), mask_of(box(2, 14), box(2, 14))
    scores = score_case(truth, predicted, NSD_MM)
    assert scores["liver"]["hd95_mm"] == scores["tumor"]["hd95_mm"] == pytest.approx(3.0)
    assert scores["liver"]["nsd"] == 1
    assert scores["tumor"]["nsd"] < 0.95


def test_surfaces_are_left_out_where_no_tolerance_is_given():
    scores = score_case(mask_of(box(0, 9)), mask_of(box(0, 9)))
    assert not {"hd95_mm", "nsd", "assd_mm"} & set(scores["liver"])
    assert "hd95_mm" not in summarize([scores])["liver"]


def test_voxels_are_counted_for_those_who_pool_them():
    scores = score_case(mask_of(box(0, 10), box(0, 4)), mask_of(box(1, 10), box(1, 6)))
    row, tumor = scores["liver"], scores["tumor"]
    assert (row["truth_voxels"], row["predicted_voxels"], row["both_voxels"]) == (240, 216, 216)
    assert (tumor["truth_voxels"], tumor["predicted_voxels"], tumor["both_voxels"]) == (96, 120, 72)
    assert (row["same_label_voxels"], tumor["same_label_voxels"]) == (4 * 24, 3 * 24)
    assert row["scan_voxels"] == 20 * 6 * 9


def test_lesions_are_counted_in_the_rows_of_tumors():
    both = box(0, 4) | box(6, 9)
    scores = score_case(mask_of(box(0, 10), both), mask_of(box(0, 10), box(0, 4)))
    tumor = scores["tumor"]
    assert (tumor["lesions_truth"], tumor["lesions_detected"], tumor["lesions_false"]) == (2, 1, 0)
    assert "lesions_truth" not in scores["liver"]


def test_lesions_of_all_cases_are_summed():
    one, two = box(0, 4), box(0, 4) | box(6, 9)
    cases = [
        score_case(mask_of(box(0, 10), two), mask_of(box(0, 10), one)),
        score_case(mask_of(box(0, 10), one), mask_of(box(0, 10), two)),
        score_case(mask_of(box(0, 10)), mask_of(box(0, 10))),
    ]
    tumor = summarize(cases)["tumor"]
    assert (tumor["lesion_recall"], tumor["lesion_precision"]) == pytest.approx((2 / 3, 2 / 3))
    assert tumor["lesion_f1"] == pytest.approx(2 / 3)
    assert tumor["false_lesions_per_case"] == pytest.approx(1 / 3)
    assert summarize(cases[2:])["tumor"]["lesion_f1"] is None
    assert "lesion_f1" not in summarize(cases)["liver"]


def test_nothing_right_has_an_f1_of_0():
    wrong = score_case(mask_of(box(0, 10), box(0, 3)), mask_of(box(0, 10), box(6, 9)))
    assert summarize([wrong])["tumor"]["lesion_f1"] == 0


def test_masks_that_are_all_empty_are_scored():
    scores = score_case(mask_of(EMPTY), mask_of(EMPTY), NSD_MM)
    assert math.isnan(scores["liver"]["dice"])
    assert math.isnan(scores["tumor"]["hd95_mm"])
    assert scores["liver"]["scan_voxels"] == 20 * 6 * 9


@pytest.mark.parametrize("where", [(0, 0, 0), (4, 1, 2)])
def test_what_surrounds_the_masks_changes_no_score(where):
    truth, predicted = mask_of(box(0, 9), box(2, 5)), mask_of(box(1, 9), box(2, 4))
    around = [(before, 3) for before in where]
    wider = [Mask(np.pad(one.labels, around), one.affine) for one in (truth, predicted)]
    one, other = score_case(truth, predicted, NSD_MM), score_case(*wider, NSD_MM)
    for name in one:
        del one[name]["scan_voxels"], other[name]["scan_voxels"]
        assert one[name] == pytest.approx(other[name])


def test_each_lesion_is_told_with_its_size():
    truth, predicted = mask_of(box(0, 9), box(0, 4) | box(6, 7)), mask_of(box(0, 9), box(1, 4))
    large, small, found = score_with_lesions(truth, predicted).lesions
    assert large.volume_ml == pytest.approx(4 * 24 * 0.003)
    assert (large.is_truth, small.is_truth, found.is_truth) == (True, True, False)
    assert large.match == found.match is not None
    assert small.match is None
    assert large.dice == found.dice == pytest.approx(2 * 3 / 7)


def test_cases_without_a_surface_are_counted_and_not_averaged():
    found = score_case(mask_of(box(0, 9), box(0, 4)), mask_of(box(0, 9), box(0, 4)), NSD_MM)
    missed = score_case(mask_of(box(0, 9), box(0, 4)), mask_of(box(0, 9)), NSD_MM)
    healthy = score_case(mask_of(box(0, 9)), mask_of(box(0, 9)), NSD_MM)
    tumor = summarize([found, missed, healthy])["tumor"]
    assert (tumor["hd95_mm"], tumor["nsd"], tumor["assd_mm"]) == (0, 1, 0)
    assert tumor["no_surface"] == 2
    assert summarize([missed])["tumor"]["hd95_mm"] is None
