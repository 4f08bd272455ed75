import math

import numpy as np
import pytest
from scipy import stats

from builders import affine_of
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.definitions import dice_definitions
from dyntransnet.scoring.metrics import score_with_lesions
from dyntransnet.scoring.statistics import Resampling
from dyntransnet.scoring.summary import SCORES, spread_of, summarize_cases

SHAPE = (20, 6, 9)
NSD_MM = {"liver": 3.0, "tumor": 2.0}
HOW = Resampling(draws=800, confidence=0.95, seed=1)


def mask(liver: int, tumor: int = 0) -> Mask:
    """As many slices of tumor, then of liver."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[: liver + tumor, 1:5, 2:8] = 1
    labels[:tumor, 1:5, 2:8] = 2
    return Mask(labels, affine_of(SHAPE, (1.5, 0.5, 4.0), "PIR"))


def cases(*pairs: tuple[Mask, Mask]):
    return {f"c{n}": score_with_lesions(*pair, NSD_MM) for n, pair in enumerate(pairs)}


def alone(values) -> tuple[dict[str, float], dict[str, str]]:
    named = {f"c{n:02}": float(value) for n, value in enumerate(values)}
    return named, {case: case for case in named}


def test_a_score_is_described():
    values = np.random.default_rng(0).normal(0.8, 0.1, 15)
    found = spread_of(*alone(values), HOW)
    assert found.mean == pytest.approx(values.mean())
    assert found.sd == pytest.approx(values.std(ddof=1))
    assert found.median == pytest.approx(np.median(values))
    assert (found.q1, found.q3) == pytest.approx(tuple(np.percentile(values, [25, 75])))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=800, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(theirs))
    assert (found.n, found.undefined) == (15, 0)


def test_a_patients_cases_are_one_value():
    found = spread_of({"a1": 0.2, "a2": 0.4, "b": 0.9}, {"a1": "a", "a2": "a", "b": "b"}, HOW)
    assert (found.n, found.mean) == (2, pytest.approx(0.6))


def test_what_is_not_defined_is_counted_and_enters_no_number():
    found = spread_of(*alone([0.5, math.nan, 0.7, math.nan]), HOW)
    assert (found.n, found.undefined, found.mean) == (2, 2, pytest.approx(0.6))


def test_of_nothing_nothing_is_said():
    found = spread_of(*alone([math.nan]), HOW)
    assert (found.n, found.undefined) == (0, 1)
    assert (found.mean, found.sd, found.median, found.q1, found.q3, found.low) == (None,) * 6


def test_one_value_has_no_deviation_and_few_have_no_interval():
    assert spread_of(*alone([0.5]), HOW).sd is None
    assert spread_of(*alone([0.5, 0.6, 0.7]), HOW).low is None


@pytest.mark.parametrize("values", [[1] * 9, [1] * 8 + [0.99], [0] * 5 + [1], [0, 1] * 5])
def test_scores_with_many_equal_values_have_an_interval(values):
    found = spread_of(*alone(values), HOW)
    assert min(values) <= found.low <= found.mean <= found.high <= max(values)


def test_every_score_of_both_classes_is_described_and_empties_are_counted():
    healthy, missed, invented = (mask(9), mask(9)), (mask(6, 4), mask(10)), (mask(10), mask(6, 4))
    found = summarize_cases(cases(healthy, missed, invented, (mask(6, 4), mask(6, 4))), how=HOW)
    assert all(list(found.scores[name]) == list(SCORES) for name in ("liver", "tumor"))
    assert found.counts["tumor"] == {
        "cases": 4, "scored": 3, "both_empty": 1, "false_positive_cases": 1,
        "missed_cases": 1, "no_surface": 3,
    }  # fmt: skip
    dice, hd95 = found.scores["tumor"]["dice"], found.scores["tumor"]["hd95_mm"]
    assert (dice.n, dice.undefined, dice.mean) == (3, 1, pytest.approx(1 / 3))
    assert (hd95.n, hd95.undefined, hd95.mean) == (1, 3, 0)
    assert found.scores["tumor"]["volume_error_ml"].n == 4
    assert found.patients == 4


def test_definitions_of_dice_stand_with_their_n():
    scored = cases((mask(6, 4), mask(8, 2)), (mask(9), mask(8)), (mask(2, 8), mask(2, 8)))
    found = summarize_cases(scored, how=HOW).definitions
    assert {name: one.value for name, one in found.items()} == dice_definitions(
        [case.rows for case in scored.values()]
    )
    assert found["dice_whole_liver"].n == 3
    assert found["dice_tumor_case"].n == found["dice_mean_fg"].n == 2
    assert found["dice_tumor_detected"].n == 1


def test_definitions_have_intervals_over_patients():
    pairs = [(mask(6, 4), mask(8, 2)), (mask(2, 8), mask(2, 8))] * 5
    one_each = summarize_cases(cases(*pairs), how=HOW).definitions["dice_tumor_case"]
    assert 2 / 3 < one_each.low < one_each.value < one_each.high < 1
    two_each = {f"c{n}": str(n // 2) for n in range(10)}
    few = summarize_cases(cases(*pairs), two_each, HOW)
    assert few.patients == few.scores["liver"]["dice"].n == 5
    assert few.definitions["dice_tumor_case"].low is None
