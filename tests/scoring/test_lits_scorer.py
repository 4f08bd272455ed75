import csv
import math

import numpy as np
import pytest

from builders import affine_of
from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.detection import lesion_scores
from dyntransnet.scoring.lits_scorer import (
    LARGE,
    LitsCase,
    score_lits_case,
    summarize_lits,
    write_lits,
)

SHAPE = (40, 12, 9)
SPACING = (1.5, 0.9, 5.0)
AREA = 5 * 4
"""Voxels in a slice of a bar."""


def mask(*lesions: tuple[int, int], liver: tuple[int, int] | None = (0, 40)) -> Mask:
    """Bars along x: one of liver, others of tumor in it."""
    labels = np.zeros(SHAPE, np.uint8)
    if liver:
        labels[slice(*liver), 2:9, 1:8] = 1
    for first, last in lesions:
        labels[first:last, 3:8, 2:6] = 2
    return Mask(labels, affine_of(SHAPE, SPACING, "PIR", tilt_deg=8))


def scored(*pairs: tuple[Mask, Mask]) -> dict[str, float | None]:
    return summarize_lits([score_lits_case("a", *pair) for pair in pairs])


def test_a_mask_against_itself_is_perfect():
    found = scored((mask((3, 9), (20, 30)), mask((3, 9), (20, 30))))
    zero = {name for name, value in found.items() if value == 0}
    assert zero == {
        *(f"{name}_{score}" for name in ("lesion", "liver")
          for score in ("voe", "rvd", "assd", "rmsd", "msd")),
        "RMSE_Tumorburden", "MAXERROR_Tumorburden",
    }  # fmt: skip
    assert {found[name] for name in found.keys() - zero} == {1}


def test_a_lesion_too_short_by_hand():
    """10 of truth and 8 of prediction share 8; overlap 0.8."""
    found = scored((mask((10, 20)), mask((12, 20))))
    assert found["lesion_dice"] == found["lesion_dice_per_case"] == pytest.approx(16 / 18)
    assert found["lesion_jaccard"] == pytest.approx(0.8)
    assert found["lesion_voe"] == pytest.approx(0.2)
    assert found["lesion_msd"] == pytest.approx(2 * SPACING[0])
    assert found["liver_dice"] == 1


def test_the_volume_difference_is_relative_to_the_prediction():
    assert scored((mask((10, 20)), mask((10, 16))))["lesion_rvd"] == pytest.approx(4 / 6)


def test_surfaces_are_voxel_centers_that_count_alike():
    truth, predicted = (np.zeros(SHAPE, np.uint8) for _ in range(2))
    truth[4, 5, 3] = predicted[4, 5, 3] = predicted[4, 5, 4] = 1
    affine = affine_of(SHAPE, SPACING, "PIR")
    found = scored((Mask(truth, affine), Mask(predicted, affine)))
    assert found["liver_assd"] == pytest.approx(5 / 3)
    assert found["liver_rmsd"] == pytest.approx(5 / math.sqrt(3))
    assert found["liver_msd"] == pytest.approx(5)


def test_only_what_lies_inside_by_all_of_18_neighbors_is_no_surface():
    """Of 5 x 5 x 5 voxels, 27 are inside; the other 98 are the surface of both."""
    truth, predicted = (np.zeros(SHAPE, np.uint8) for _ in range(2))
    truth[4:9, 4:9, 3:8] = 1
    predicted[5:8, 5:8, 4:7] = 1
    affine = affine_of(SHAPE, (1.0, 1.0, 1.0), "PIR")
    found = scored((Mask(truth, affine), Mask(predicted, affine)))
    faces, edges, corners = 6 * 9, 12 * 3, 8
    there = faces + edges * math.sqrt(2) + corners * math.sqrt(3)
    assert found["liver_assd"] == pytest.approx((there + 26) / (98 + 26))


def test_dice_per_case_weighs_cases_and_the_global_one_voxels():
    large, small = (mask((0, 20)), mask((0, 20))), (mask((0, 4)), mask((2, 4)))
    found = scored(large, small)
    assert found["lesion_dice_per_case"] == pytest.approx((1 + 2 * 2 / 6) / 2)
    assert found["lesion_dice_global"] == pytest.approx(2 * 22 / (40 + 6))


def test_detection_is_counted_above_0_and_above_a_half():
    """One lesion is found, one touched by 2 of 10, one missed; and one invented."""
    truth, predicted = mask((0, 6), (8, 14), (20, 26)), mask((0, 6), (12, 18), (30, 34))
    found = scored((truth, predicted))
    assert (found["lesion_precision"], found["lesion_recall"]) == pytest.approx((1 / 3, 1 / 3))
    assert found["lesion_precision_greater_zero"] == pytest.approx(2 / 3)
    assert found["lesion_recall_greater_zero"] == pytest.approx(2 / 3)


def test_half_is_not_enough():
    assert scored((mask((10, 20)), mask((10, 15))))["lesion_recall"] == 0
    assert scored((mask((10, 20)), mask((10, 16))))["lesion_recall"] == 1


def test_lesions_that_share_an_edge_are_two():
    truth = mask((4, 8))
    truth.labels[8:10, 8:9, 2:6] = 2
    assert score_lits_case("a", truth, truth).reference == 2
    assert lesion_scores(truth.labels == 2, truth.labels == 2)["lesions_truth"] == 1


def test_slip_a_match_is_measured_without_what_it_predicts_too_much():
    """The only prediction shares 3 of 10 slices with the second lesion. Its number is 1, the
    lesion's 2, so that the scorer finds no prediction and takes 3 of the lesion's 5."""
    truth, predicted = mask((0, 10), (20, 25)), mask((22, 30))
    assert scored((truth, predicted))["lesion_precision"] == 1
    assert lesion_scores(truth.labels == 2, predicted.labels == 2)["lesions_detected"] == 0


def test_slip_detections_may_be_fewer_than_none():
    """One prediction joins two lesions to one object, is not enough, and takes away both."""
    found = scored((mask((0, 2), (4, 6)), mask((0, 20))))
    assert (found["lesion_recall"], found["lesion_precision"]) == (-0.5, -1)
    assert found["lesion_dice"] == 0


def test_scores_of_lesions_are_means_over_the_detected_ones_of_all_cases():
    one, two = (mask((0, 10)), mask((0, 8))), (mask((0, 5), (10, 20)), mask((10, 20)))
    assert scored(one, two)["lesion_dice"] == pytest.approx((16 / 18 + 1) / 2)


def test_two_masks_without_a_lesion_have_dice_1():
    found = scored((mask(), mask()))
    assert found["lesion_dice_per_case"] == 1
    assert found["lesion_dice_global"] is None
    assert (found["lesion_precision"], found["lesion_recall"]) == (0, 0)


@pytest.mark.parametrize(("truth", "predicted"), [((4, 8), None), (None, (4, 8))])
def test_one_mask_without_a_lesion_has_dice_0_and_the_worst_of_all_else(truth, predicted):
    found = scored(tuple(mask(*[bar] if bar else []) for bar in (truth, predicted)))
    assert (found["lesion_dice_per_case"], found["lesion_dice_global"]) == (0, 0)
    assert (found["lesion_dice"], found["lesion_voe"]) == (0, 1)
    assert {found[f"lesion_{name}"] for name in ("rvd", "assd", "rmsd", "msd")} == {LARGE}


def test_a_prediction_of_tumor_alone_has_no_liver():
    truth, predicted = mask((4, 8)), mask((4, 8), liver=None)
    found = scored((truth, predicted))
    assert (found["liver_dice"], found["liver_dice_per_case"], found["liver_dice_global"]) == (
        0,
    ) * 3
    assert found["liver_assd"] == LARGE
    assert found["lesion_dice"] == 1
    share = 4 * AREA / (40 * 7 * 7)
    assert found["RMSE_Tumorburden"] == pytest.approx(LARGE - share)
    assert found["MAXERROR_Tumorburden"] == pytest.approx(share - LARGE)


def test_an_empty_prediction_is_scored():
    found = scored((mask((4, 8)), mask(liver=None)))
    assert (found["liver_dice_per_case"], found["lesion_dice_per_case"]) == (0, 0)


def test_the_burden_is_the_tumors_share_of_the_liver():
    """Truth 4, 8 and prediction 6, 2 slices of tumor: too much, then too little."""
    one, two = (mask((4, 8)), mask((4, 10))), (mask((4, 12)), mask((4, 6)))
    share = AREA / (40 * 7 * 7)
    found = scored(one, two)
    assert found["RMSE_Tumorburden"] == pytest.approx(share * math.sqrt((4 + 36) / 2))
    assert found["MAXERROR_Tumorburden"] == pytest.approx(6 * share)


def test_livers_that_do_not_touch_have_dice_0_and_distances():
    found = scored((mask(liver=(0, 10)), mask(liver=(20, 30))))
    assert (found["liver_dice"], found["liver_voe"]) == (0, 1)
    assert found["liver_msd"] == pytest.approx(20 * SPACING[0])


def test_a_truth_without_a_liver_is_refused():
    with pytest.raises(ScanError, match="a: reference must have a liver for the LiTS scorer, got"):
        score_lits_case("a", mask(liver=None), mask())


def test_masks_on_other_grids_are_refused():
    other = Mask(np.ascontiguousarray(mask().labels.T), affine_of(SHAPE))
    with pytest.raises(ScanError, match="must lie on one grid"):
        score_lits_case("a", mask(), other)


def test_cases_and_detected_lesions_are_written(tmp_path):
    cases = {"a": score_lits_case("a", mask((0, 6), (20, 26)), mask((0, 6), (21, 26)))}
    assert isinstance(cases["a"], LitsCase)
    write_lits(cases, tmp_path / "cases.csv", tmp_path / "lesions.csv")
    (case,) = csv.DictReader((tmp_path / "cases.csv").read_text().splitlines())
    assert (case["case"], case["detected"], case["lesions_reference"]) == ("a", "2", "2")
    assert float(case["lesion_dice_per_case"]) == pytest.approx(22 / 23)
    lesions = [*csv.DictReader((tmp_path / "lesions.csv").read_text().splitlines())]
    assert [float(row["dice"]) for row in lesions] == pytest.approx([1, 10 / 11])
