import numpy as np
import pytest
from sklearn.metrics import f1_score

from builders import affine_of, case_of
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.definitions import DEFINITIONS, dice_definitions
from dyntransnet.scoring.metrics import score_case

SHAPE = (20, 6, 9)
SPACING = (1.5, 0.5, 4.0)


def strip(liver: int, tumor: int, *, first: int = 0) -> Mask:
    """Along x: as many slices of tumor, then of liver."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[first : first + tumor + liver, 1:5, 2:8] = 1
    labels[first : first + tumor, 1:5, 2:8] = 2
    return Mask(labels, affine_of(SHAPE, SPACING, "PIR"))


def defined(*pairs: tuple[Mask, Mask]) -> dict[str, float | None]:
    return dice_definitions([score_case(*pair) for pair in pairs])


def test_the_seven_of_one_case_by_hand():
    """Truth: 4 tumor, 6 liver. Prediction: 2 tumor, 8 liver. A slice is 24 of 1080 voxels."""
    found = defined((strip(6, 4), strip(8, 2)))
    assert found == pytest.approx(
        {
            "dice_liver": 2 * 6 / (6 + 8),
            "dice_whole_liver": 1.0,
            "dice_tumor_case": 2 * 2 / (4 + 2),
            "dice_tumor_pooled": 2 * 2 / (4 + 2),
            "dice_tumor_detected": None,
            "dice_mean_fg": (1 + 2 / 3) / 2,
            "dice_mean_with_bg": (1 + 1 + 2 / 3) / 3,
        }
    )
    assert list(found) == list(DEFINITIONS)


def test_pooling_weighs_voxels_and_the_mean_weighs_cases():
    large, small = (strip(2, 10), strip(2, 10)), (strip(2, 2), strip(3, 1))
    found = defined(large, small)
    assert found["dice_tumor_case"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["dice_tumor_pooled"] == pytest.approx(2 * 11 / (12 + 11))


def test_the_mean_over_detected_lesions_forgets_the_missed_ones():
    found = defined((strip(2, 8), strip(3, 7)), (strip(6, 4), strip(9, 1)))
    assert found["dice_tumor_detected"] == pytest.approx(2 * 7 / 15)
    assert found["dice_tumor_case"] < found["dice_tumor_pooled"] < found["dice_tumor_detected"]


def test_healthy_patients_lift_nothing():
    sick, healthy = (strip(6, 4), strip(8, 2)), (strip(9, 0), strip(9, 0))
    assert defined(sick, healthy)["dice_tumor_case"] == defined(sick)["dice_tumor_case"]


def test_an_invented_tumor_counts_as_0():
    found = defined((strip(6, 4), strip(6, 4)), (strip(9, 0), strip(7, 2)))
    assert found["dice_tumor_case"] == pytest.approx(0.5)


def test_without_tumors_four_of_the_seven_are_not_defined():
    found = defined((strip(9, 0), strip(8, 0)))
    assert {name for name, value in found.items() if value is None} == {
        "dice_tumor_case", "dice_tumor_pooled", "dice_tumor_detected",
        "dice_mean_fg", "dice_mean_with_bg",
    }  # fmt: skip
    assert found["dice_liver"] == found["dice_whole_liver"] == pytest.approx(16 / 17)


def test_of_no_case_nothing_is_defined():
    assert set(dice_definitions([]).values()) == {None}


def test_labels_agree_with_the_f1_score():
    _, truth = case_of(seed=1)
    _, predicted = case_of(seed=2)
    mixed = Mask(np.where(truth.labels % 2, truth.labels, predicted.labels), truth.affine)
    expected = f1_score(truth.labels.ravel(), mixed.labels.ravel(), average=None)
    found = defined((truth, mixed))
    assert found["dice_liver"] == pytest.approx(expected[1])
    assert found["dice_tumor_case"] == pytest.approx(expected[2])
    foreground = f1_score(truth.labels.ravel() > 0, mixed.labels.ravel() > 0, average=None)
    with_background = (*foreground, expected[2])
    assert found["dice_mean_with_bg"] == pytest.approx(np.mean(with_background))
