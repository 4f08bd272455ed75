import math

import pytest

from dyntransnet.imaging.lesions import diameter_mm_of
from dyntransnet.scoring.detection import FoundLesion
from dyntransnet.scoring.lesions import ALL, summarize_lesions
from dyntransnet.scoring.statistics import LEAST_PATIENTS, Resampling

HOW = Resampling(draws=500, confidence=0.95, seed=1)
SIZES = ("below_10_mm", "10_to_20_mm", "above_20_mm")


def lesion(diameter_mm: float, match: int | None = None, *, truth=True, dice=0.8) -> FoundLesion:
    volume_ml = math.pi * diameter_mm**3 / 6000
    return FoundLesion(
        is_truth=truth,
        volume_ml=volume_ml,
        diameter_mm=diameter_mm_of(volume_ml),
        match=match,
        dice=math.nan if match is None else dice,
    )


def summary(*cases: list[FoundLesion], patients: list[str] | None = None):
    named = {f"c{number}": lesions for number, lesions in enumerate(cases)}
    whose = dict(zip(named, patients or named, strict=True))
    return summarize_lesions(named, whose, HOW)


def test_shares_are_over_the_lesions_of_all_cases():
    found = summary(
        [lesion(12, 0), lesion(12), lesion(12, 0, truth=False)],
        [lesion(15), lesion(15, truth=False), lesion(15, truth=False)],
        [],
    )[ALL]
    assert (found.truth, found.detected, found.predicted, found.false) == (3, 1, 3, 2)
    assert (found.cases, found.patients, found.matches) == (3, 3, 1)
    assert (found.recall, found.precision) == pytest.approx((1 / 3, 1 / 3))
    assert found.f1 == pytest.approx(1 / 3)
    assert found.false_per_case == pytest.approx(2 / 3)
    assert found.dice_detected == 0.8


def test_each_lesion_counts_where_its_own_size_belongs():
    """A lesion of 22 mm is found by one of 18 mm."""
    found = summary([lesion(5), lesion(22, 0), lesion(18, 0, truth=False)])
    assert [found[size].truth for size in SIZES] == [1, 0, 1]
    assert [found[size].predicted for size in SIZES] == [0, 1, 0]
    assert [found[size].recall for size in SIZES] == [0, None, 1]
    assert [found[size].precision for size in SIZES] == [None, 1, None]


def test_lesions_that_one_prediction_joins_are_one_match_of_the_largest():
    found = summary([lesion(12, 0), lesion(25, 0), lesion(8, 0), lesion(30, 0, truth=False)])
    assert [found[size].matches for size in SIZES] == [0, 0, 1]
    assert [found[size].detected for size in SIZES] == [1, 1, 1]
    assert found[ALL].dice_detected == found["above_20_mm"].dice_detected == 0.8


def test_matches_of_one_number_in_two_cases_are_two():
    found = summary([lesion(12, 0, dice=0.7)], [lesion(12, 0, dice=0.9)])[ALL]
    assert (found.matches, found.dice_detected) == (2, pytest.approx(0.8))


def test_nothing_found_has_an_f1_of_0_and_nothing_there_has_none():
    assert summary([lesion(12), lesion(12, truth=False)])[ALL].f1 == 0
    nothing = summary([])[ALL]
    assert (nothing.recall, nothing.precision, nothing.f1, nothing.dice_detected) == (None,) * 4
    assert nothing.false_per_case == 0


def test_intervals_are_over_patients():
    cases = [[lesion(12, 0)], [lesion(12)]] * LEAST_PATIENTS
    one_each = summary(*cases)[ALL]
    few = summary(*cases, patients=["a", "b", "c"] * (len(cases) // 3))[ALL]
    low, high = one_each.intervals["recall"]
    assert 0.1 < low < one_each.recall < high < 0.9
    assert one_each.intervals["precision"] is None
    assert (few.patients, few.recall, few.intervals["recall"]) == (3, 0.5, None)


def test_a_patients_cases_are_drawn_together():
    found = summary(*[[lesion(12, 0)]] * 6, *[[lesion(12)]] * 6, patients=[*"abcdef" * 2])[ALL]
    assert found.intervals["recall"] == (0.5, 0.5)
