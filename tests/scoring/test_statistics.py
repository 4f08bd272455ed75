import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dyntransnet.scoring.statistics import (
    LEAST_PATIENTS,
    Paired,
    Resampling,
    compare_paired,
    correct,
    deviation,
    holm,
    known_mean,
    mean_interval,
    per_patient,
    pooled_intervals,
    rank_biserial,
)

NAN = float("nan")
HOW = Resampling(draws=2000, confidence=0.95, seed=7)


def named(values) -> dict[str, float]:
    return {f"p{number:02}": float(value) for number, value in enumerate(values)}


def drawn(count: int, *, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, count)


def test_seeds_are_averaged_before_scans_and_scans_before_patients():
    seeds = [{"a1": 0.2, "a2": 0.9, "b": 0.5}, {"a1": 0.4, "a2": 0.9, "b": 0.7}]
    found = per_patient(seeds, {"a1": "Ann", "a2": "Ann", "b": "Bo"})
    assert found == pytest.approx({"Ann": (0.3 + 0.9) / 2, "Bo": 0.6})


def test_a_scan_scored_more_often_weighs_no_more():
    seeds = [{"a1": 0.0, "a2": 1.0}, {"a1": 0.0}, {"a1": 0.0}]
    assert per_patient(seeds, {"a1": "Ann", "a2": "Ann"}) == {"Ann": 0.5}


def test_undefined_scores_are_left_out_of_a_patients_mean_and_stay_where_all_are():
    seeds = [{"a": NAN, "b": NAN}, {"a": 0.6, "b": NAN}]
    found = per_patient(seeds, {"a": "Ann", "b": "Bo"})
    assert found["Ann"] == 0.6
    assert math.isnan(found["Bo"])


def test_a_mean_and_a_deviation_of_known_values():
    assert known_mean([1.0, NAN, 3.0]) == 2
    assert math.isnan(known_mean([NAN]))
    assert deviation([1.0, NAN, 3.0]) == pytest.approx(math.sqrt(2))
    assert deviation([1.0, NAN]) is None


def test_an_interval_is_scipys_bca():
    values = drawn(20) ** 2
    rng = np.random.default_rng(HOW.seed)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=2000, method="BCa", rng=rng)
    assert mean_interval(values, HOW) == pytest.approx(tuple(theirs.confidence_interval))


def test_an_interval_of_many_equals_the_normal_one():
    values = drawn(400, shift=3.0)
    low, high = mean_interval(values, Resampling(draws=10_000, confidence=0.9, seed=1))
    half = 1.645 * values.std(ddof=1) / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_the_same_seed_gives_the_same_interval():
    again = Resampling(draws=2000, confidence=0.95, seed=8)
    assert mean_interval(drawn(12), HOW) == mean_interval(drawn(12), HOW)
    assert mean_interval(drawn(12), HOW) != mean_interval(drawn(12), again)


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    """Skewed values, as Dice is; 300 sets of 25 patients, 90 % asked for."""
    rng = np.random.default_rng(0)
    how = Resampling(draws=400, confidence=0.9, seed=3)
    held = 0
    for _ in range(300):
        low, high = mean_interval(rng.beta(8, 2, 25), how)
        held += low <= 0.8 <= high
    assert 0.85 <= held / 300 <= 0.94


def test_an_interval_needs_patients_and_has_no_width_where_all_are_equal():
    assert mean_interval(drawn(LEAST_PATIENTS - 1), HOW) is None
    assert mean_interval(drawn(LEAST_PATIENTS), HOW) is not None
    assert mean_interval(np.full(9, 0.75), HOW) == (0.75, 0.75)


def test_tests_are_those_of_scipy_on_the_same_pairs():
    one, other = drawn(15, seed=1, shift=0.4), drawn(15, seed=2)
    found = compare_paired(named(one), named(other))
    assert found.p == pytest.approx(stats.wilcoxon(one, other).pvalue)
    assert found.p_t == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert found.difference == pytest.approx((one - other).mean())
    assert (found.n, found.unpaired, found.differ) == (15, 0, 15)


def test_six_wins_of_six_have_the_least_p_there_is():
    found = compare_paired(named(range(2, 8)), named([0] * 6))
    assert found.p == pytest.approx(2 / 2**6)
    assert found.effect == 1


def test_p_is_the_share_of_sign_flips_as_extreme():
    """All 2**8 signs are tried by hand."""
    differences = np.array([0.3, 1.1, -0.2, 0.8, 2.0, -0.5, 1.4, 0.9])
    ranks = stats.rankdata(np.abs(differences))
    seen = abs((np.sign(differences) * ranks).sum())
    flips = [abs(np.dot(signs, ranks)) >= seen for signs in product((-1, 1), repeat=8)]
    found = compare_paired(named(differences), named([0] * 8))
    assert found.p == pytest.approx(np.mean(flips))


def test_patients_are_paired_by_name_not_by_place():
    values = drawn(10)
    turned = dict(reversed(list(named(values).items())))
    found = compare_paired(turned, named(values))
    assert (found.differ, found.difference) == (0, 0)


@pytest.mark.parametrize("count", [0, 1, LEAST_PATIENTS - 1])
def test_too_few_patients_are_not_tested(count):
    found = compare_paired(named(drawn(count)), named(drawn(count, seed=1)))
    assert (found.n, found.p, found.p_t) == (count, None, None)


def test_equal_values_are_not_tested():
    found = compare_paired(named(drawn(10)), named(drawn(10)))
    assert found == Paired(10, 0, 0, 0.0, None, None, None)


def test_patients_without_change_do_not_make_up_the_number():
    changed = [0.0] * 8 + [1.0] * (LEAST_PATIENTS - 1)
    found = compare_paired(named(changed), named([0.0] * len(changed)))
    assert (found.n, found.differ, found.p) == (13, LEAST_PATIENTS - 1, None)


def test_a_constant_shift_has_no_t_test():
    found = compare_paired(named(np.arange(9) / 10 + 0.1), named(np.arange(9) / 10))
    assert found.p == pytest.approx(2 / 2**9)
    assert found.p_t is None


def test_a_patient_without_a_value_is_left_out_and_counted():
    one, other = drawn(10, seed=1), drawn(10, seed=2)
    with_gaps = named(one) | {"p00": NAN, "p01": NAN}
    found = compare_paired(with_gaps, named(other) | {"p01": NAN})
    assert (found.n, found.unpaired) == (8, 1)
    assert found.p == pytest.approx(stats.wilcoxon(one[2:], other[2:]).pvalue)


def test_the_effect_by_hand():
    """Ranks 1 (+), 2 (-), 3 (+), 4 (+): (8 - 2) / 10; a zero has no rank."""
    assert rank_biserial(np.array([0.1, -0.2, 0.3, 0.4, 0.0])) == pytest.approx(0.6)
    assert rank_biserial(np.zeros(3)) is None


@given(st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=1, max_size=12))
def test_the_effect_turns_with_the_sign_and_is_bounded(values):
    differences = np.array(values)
    found = rank_biserial(differences)
    if found is not None:
        assert -1 <= found <= 1
        assert rank_biserial(-differences) == pytest.approx(-found)


def test_holm_by_hand():
    """0.01 x 4, 0.02 x 3, then 0.03 x 2 may not fall below 0.06, 0.5 x 1."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]


def test_holm_leaves_out_what_was_not_tested():
    assert holm([0.01, None, 0.04])[::2] == pytest.approx([0.02, 0.04])
    assert holm([0.01, None])[1] is None
    assert holm([None]) == [None]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_raises_every_p_and_keeps_their_order(values):
    corrected = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, corrected, strict=True))
    ranked = [corrected[index] for index in np.argsort(values, kind="stable")]
    assert ranked == sorted(ranked)


def test_a_family_is_corrected_together():
    tests = [Paired(9, 0, 9, 0.1, p, 0.5, p) for p in (0.01, 0.04)]
    assert [test.p_holm for test in correct(tests)] == pytest.approx([0.02, 0.04])
    assert [test.p for test in correct(tests)] == [0.01, 0.04]


@pytest.mark.parametrize("odd", [0.0, 0.5, 0.999999])
@pytest.mark.parametrize("count", [LEAST_PATIENTS, 13, 60])
def test_one_patient_who_differs_still_has_an_interval(count, odd):
    values = np.ones(count)
    values[0] = odd
    low, high = mean_interval(values, HOW)
    assert odd <= low <= values.mean() <= high <= 1


@pytest.mark.parametrize("count", [7, 12, 20, 60])
def test_ties_and_zeros_are_tested_without_complaint(count):
    differences = np.random.default_rng(count).integers(-1, 4, count) / 10
    differences[0] = 0
    found = compare_paired(named(differences), named(np.zeros(count)))
    assert found.differ < count
    assert found.p is None or 0 < found.p <= 1


def shares(sums: np.ndarray) -> np.ndarray:
    """First column over second, and over third."""
    part, *wholes = sums.T
    wholes = [np.where(whole == 0, np.nan, whole) for whole in wholes]
    return np.stack([part / whole for whole in wholes], axis=1)


def test_a_pooled_interval_of_a_mean_is_the_percentile_bootstraps():
    values = drawn(40) ** 2
    sums = np.stack([values, np.ones(40), np.full(40, 2.0)], axis=1)
    mean, half = pooled_intervals(sums, shares, Resampling(10_000, 0.95, 3))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert mean == pytest.approx(tuple(theirs), abs=0.03)
    assert half == pytest.approx(tuple(end / 2 for end in mean))


def test_patients_are_drawn_whole():
    """Ten lesions each: all found in half of the patients, none in the others."""
    sums = np.array([[10.0, 10.0, 1.0], [0.0, 10.0, 1.0]] * 10)
    recall, _ = pooled_intervals(sums, shares, Resampling(10_000, 0.95, 3))
    half = 1.96 * 0.5 / math.sqrt(20)
    assert recall == pytest.approx((0.5 - half, 0.5 + half), abs=0.05)


def test_draws_that_define_no_value_are_left_out():
    sums = np.zeros((8, 3))
    sums[0] = 3, 4, 0
    recall, nothing = pooled_intervals(sums, shares, HOW)
    assert recall == (0.75, 0.75)
    assert nothing is None


def test_few_patients_have_no_pooled_interval():
    sums = np.ones((LEAST_PATIENTS - 1, 3))
    assert pooled_intervals(sums, shares, HOW) == [None, None]
    assert pooled_intervals(np.ones((LEAST_PATIENTS, 3)), shares, HOW) == [(1, 1), (1, 1)]
