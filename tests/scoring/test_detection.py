import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import blobs
from dyntransnet.errors import ScanError
from dyntransnet.scoring.detection import Size, lesion_scores, match_lesions
from dyntransnet.scoring.overlap import dice

SHAPE = (30, 12, 9)


def bars(*spans: tuple[int, int]) -> np.ndarray:
    """Lesions along x, all of one cross-section."""
    mask = np.zeros(SHAPE, bool)
    for first, last in spans:
        mask[first:last, 3:8, 2:6] = True
    return mask


def counted(truth: np.ndarray, predicted: np.ndarray) -> tuple[int, int, int, int, int]:
    names = ("lesions_truth", "lesions_predicted", "lesions_detected", "lesions_false", "matches")
    found = lesion_scores(truth, predicted)
    return tuple(found[name] for name in names)


@pytest.mark.parametrize(
    ("predicted", "dice_of_it"),
    [((0, 10), 1), ((4, 10), 12 / 16), ((5, 10), 0), ((0, 19), 20 / 29), ((0, 20), 0)],
)
def test_more_than_half_of_the_union_must_be_shared(predicted, dice_of_it):
    """The lesion is 10 long: 5 of 10 and 10 of 20 are not more than half."""
    found = lesion_scores(bars((0, 10)), bars(predicted))
    detected = int(dice_of_it > 0)
    assert (found["lesions_detected"], found["lesions_false"]) == (detected, 1 - detected)
    assert found["matches_dice"] == pytest.approx(dice_of_it)


def test_each_lesion_is_matched_by_itself():
    truth, predicted = bars((0, 6), (10, 16), (20, 26)), bars((0, 6), (11, 16), (27, 30))
    assert counted(truth, predicted) == (3, 3, 2, 1, 2)
    found = lesion_scores(truth, predicted)["matches_dice"]
    assert found == pytest.approx(1 + 2 * 5 / (6 + 5))


def test_pieces_of_one_lesion_are_judged_together():
    """Neither piece of 4 covers half of 9, both together do."""
    truth, predicted = bars((0, 9)), bars((0, 4), (5, 9))
    assert counted(truth, predicted) == (1, 2, 1, 0, 1)
    assert lesion_scores(truth, predicted)["matches_dice"] == pytest.approx(2 * 8 / (9 + 8))


def test_lesions_that_one_prediction_joins_are_one_object():
    truth, predicted = bars((0, 5), (6, 10)), bars((0, 10))
    assert counted(truth, predicted) == (2, 1, 2, 0, 1)
    assert lesion_scores(truth, predicted)["matches_dice"] == pytest.approx(2 * 9 / (9 + 10))


def test_a_predicted_lesion_joins_the_one_it_overlaps_most():
    """The second prediction covers 1 of the first lesion and 8 of the second."""
    truth, predicted = bars((0, 10), (11, 20)), bars((0, 8), (9, 19))
    assert counted(truth, predicted) == (2, 2, 2, 0, 2)
    dices = 2 * 8 / (10 + 8), 2 * 8 / (9 + 10)
    assert lesion_scores(truth, predicted)["matches_dice"] == pytest.approx(sum(dices))


def test_lesions_that_share_a_corner_are_one():
    mask = np.zeros(SHAPE, bool)
    mask[2:4, 2:4, 2:4] = mask[4:6, 4:6, 4:6] = True
    assert lesion_scores(mask, mask)["lesions_truth"] == 1


def test_nothing_found_and_nothing_there():
    assert counted(bars(), bars()) == (0, 0, 0, 0, 0)
    assert counted(bars((0, 5)), bars()) == (1, 0, 0, 0, 0)
    assert counted(bars(), bars((0, 5), (7, 9))) == (0, 2, 0, 2, 0)


def test_masks_on_other_grids_are_refused():
    with pytest.raises(ScanError, match="must lie on one grid"):
        lesion_scores(bars(), bars().T)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), cut=st.floats(0.8, 1.6))
def test_counts_fit_together(seed, cut):
    truth, predicted = (blobs(SHAPE, seed=seed + by, sigma=1.5) > cut for by in (0, 1))
    found = lesion_scores(truth, predicted | (truth & (blobs(SHAPE, seed=seed + 2) > -1)))
    assert found["matches"] <= found["lesions_detected"] <= found["lesions_truth"]
    assert 0 <= found["lesions_false"] <= found["lesions_predicted"] - found["matches"]
    assert 2 / 3 * found["matches"] <= found["matches_dice"] <= found["matches"]


@pytest.mark.parametrize("seed", range(4))
def test_a_mask_detects_all_of_itself(seed):
    mask = blobs(SHAPE, seed=seed, sigma=1.5) > 1
    found = lesion_scores(mask, mask)
    assert found["lesions_detected"] == found["lesions_truth"] == found["matches_dice"] > 1


def test_one_lesion_has_the_dice_of_its_mask():
    truth, predicted = bars((3, 15)), bars((5, 17))
    assert lesion_scores(truth, predicted)["matches_dice"] == pytest.approx(dice(truth, predicted))


@pytest.mark.parametrize(
    ("diameter_mm", "size"),
    [(0.5, Size.SMALL), (9.99, Size.SMALL), (10.0, Size.MEDIUM), (20.0, Size.MEDIUM),
     (20.01, Size.LARGE), (120.0, Size.LARGE)],
)  # fmt: skip
def test_sizes_have_fixed_limits(diameter_mm, size):
    assert Size.of(diameter_mm) is size


def test_a_ball_of_15_mm_has_a_diameter_of_15_mm():
    grid = np.indices((40, 20, 12)).T * (0.8, 1.5, 2.5) - (15.8, 14.2, 14.0)
    ball = (np.linalg.norm(grid, axis=-1) <= 7.5).T
    (truth, found) = match_lesions(ball, ball).lesions(0.8 * 1.5 * 2.5 / 1000)
    assert truth.diameter_mm == found.diameter_mm == pytest.approx(15, abs=0.3)
    assert truth.size is Size.MEDIUM


def test_every_lesion_is_told_once_and_knows_its_match():
    truth, predicted = bars((0, 5), (6, 10), (14, 20)), bars((0, 10), (24, 27))
    found = list(match_lesions(truth, predicted).lesions(0.001))
    assert [lesion.is_truth for lesion in found] == [True] * 3 + [False] * 2
    assert [lesion.match for lesion in found] == [0, 0, None, 0, None]
    assert [round(lesion.dice, 3) for lesion in found if lesion.match == 0] == [0.947] * 3
    assert all(np.isnan(lesion.dice) for lesion in found if lesion.match is None)


def test_masks_without_lesions_have_none_to_tell():
    assert not list(match_lesions(bars(), bars()).lesions(0.001))
    assert [one.match for one in match_lesions(bars((0, 5)), bars()).lesions(0.001)] == [None]
    assert [one.match for one in match_lesions(bars(), bars((0, 5))).lesions(0.001)] == [None]
