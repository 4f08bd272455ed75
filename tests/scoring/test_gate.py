import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyntransnet.scoring.gate import judge, lowest, mean_dices
from dyntransnet.scoring.parity import Parity
from dyntransnet.scoring.statistics import LEAST_PATIENTS
from gates import NAN, RULES, evaluation, tumors


def fell(baseline, candidate, **changes) -> list[str]:
    """The classes that a gate says have fallen."""
    found = judge(baseline, candidate, replace(RULES, **changes))
    return [finding.name for finding in found.findings if finding.fell]


def differences(*values: float) -> dict[str, float]:
    return {f"p{number:02}": value for number, value in enumerate(values)}


def test_a_change_that_changes_nothing_passes_whatever_the_margin():
    one = tumors(0.8, 0.3, 0.5, 0.9, 0.7, 0.2, 0.6)
    strict = replace(RULES, margin={"liver": 0.0, "tumor": 0.0})
    assert judge(one, one, strict).passed


@pytest.mark.parametrize(("loss", "refused"), [(0.05, []), (0.1, []), (0.11, ["tumor"])])
def test_of_few_patients_the_worst_counts(loss, refused):
    assert fell(tumors(0.5, 0.6, 0.7), tumors(0.9, 0.9, 0.7 - loss)) == refused


def test_few_patients_need_no_luck():
    """Of n draws from an even distribution all lie above its middle in one of 2**n."""
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((4000, 5))
    held = [lowest(differences(*row), 0.95).low <= 0 for row in drawn]
    assert np.mean(held) == pytest.approx(1 - 1 / 2**5, abs=0.01)


def test_from_six_patients_on_the_bound_is_the_bootstraps():
    values = np.random.default_rng(3).normal(0.0, 0.1, 30)
    bound = lowest(differences(*values), 0.95)
    assert bound.patient is None
    expected = values.mean() - 1.645 * values.std(ddof=1) / math.sqrt(30)
    assert bound.low == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("count", [LEAST_PATIENTS - 1, LEAST_PATIENTS])
def test_where_the_worst_stops_counting(count):
    values = differences(*np.linspace(-0.4, 0.4, count))
    bound = lowest(values, 0.95)
    assert (bound.patient == "p00") is (count < LEAST_PATIENTS)
    assert -0.4 <= bound.low < 0


@given(
    values=st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=9),
    shift=st.floats(0, 1, width=16),
)
def test_a_bound_lies_between_the_worst_and_the_mean(values, shift):
    bound = lowest(differences(*values), 0.95).low
    assert min(values) - 1e-9 <= bound <= np.mean(values) + 1e-9


def test_a_mean_within_the_margin_is_not_enough():
    """Half of the patients lost 0.3, the others gained 0.28."""
    before = tumors(*[0.5] * 8)
    after = tumors(*[0.2, 0.78] * 4)
    assert fell(before, after) == ["tumor"]


def test_better_livers_do_not_pay_for_worse_tumors():
    before, after = (
        dict.fromkeys("abcdefg", (liver, tumor)) for liver, tumor in [(0.8, 0.7), (1.0, 0.5)]
    )
    assert fell(evaluation(before), evaluation(after)) == ["tumor"]


def test_scans_of_a_patient_are_one_voice():
    before, after = tumors(0.5, 0.5, 0.5), tumors(0.34, 0.6, 0.5)
    owner = {"a": "Ann", "b": "Ann", "c": "Bo"}
    assert not judge(before, after, RULES).passed
    found = judge(before, after, RULES, patient_of=owner)
    assert found.passed
    assert [finding.patients for finding in found.findings] == [2, 2]


def test_a_new_false_alarm_refuses():
    before = tumors(0.5, 0.6, NAN, healthy="c")
    after = tumors(0.6, 0.7, 0.0, healthy="c")
    found = judge(before, after, RULES)
    assert found.broken == (
        "Dice tumor must not fall by more than 0.1, got 0.7000 -> 0.4333 and -1.0000 in c, "
        "the worst of 3 (below 6 patients the worst counts)",
    )


def test_a_fall_says_where_its_bound_comes_from():
    found = judge(tumors(*[0.5] * 8), tumors(*[0.3] * 8), RULES)
    assert found.broken == (
        "Dice tumor must not fall by more than 0.1, got 0.5000 -> 0.3000 and -0.2000 at the "
        "lower 95 % bound over 8 patients",
    )


def test_a_class_that_nobody_has_is_not_compared():
    none = tumors(NAN, NAN, healthy="ab")
    liver, tumor = judge(none, none, RULES).findings
    assert (liver.patients, tumor.patients, tumor.bound, tumor.fell) == (2, 0, None, False)
    assert tumor.pairs.empty == ("a", "b")


def test_each_class_has_its_own_minimum():
    rules = replace(RULES, min_dice_liver=0.91, min_dice_tumor=0.4)
    assert judge(None, tumors(0.3, 0.45), rules).broken == (
        "Dice liver must be at least 0.91, got 0.9000",
        "Dice tumor must be at least 0.4, got 0.3750",
    )


def test_no_score_counts_as_0_unless_nothing_is_asked():
    nobody = tumors(NAN, healthy="a")
    rules = replace(RULES, min_dice_tumor=0.1)
    (rule,) = judge(None, nobody, rules).broken
    assert rule == "Dice tumor must be at least 0.1, got no score"
    assert judge(None, nobody, RULES).passed


def test_a_mean_is_over_the_cases_that_have_a_dice():
    found = mean_dices(tumors(0.4, 0.5, NAN, healthy="c"))
    assert found == pytest.approx({"liver": 0.9, "tumor": 0.45})


@pytest.mark.parametrize(
    ("slowdown", "refused"), [(None, 0), (0.4, 0), (1.5, 0), (1.51, 1), (math.inf, 1)]
)
def test_a_slower_model_is_refused(slowdown, refused):
    one = tumors(0.5)
    assert len(judge(one, one, RULES, slowdown=slowdown).broken) == refused


def test_a_runtime_that_disagrees_is_refused():
    one = tumors(0.5)
    found = judge(one, one, RULES, parity=Parity(("openvino",), ("openvino masks must ...",)))
    assert found.broken == ("openvino masks must ...",)


def test_every_broken_rule_is_listed():
    rules = replace(RULES, min_dice_liver=0.95, min_dice_tumor=0.5)
    found = judge(tumors(0.9), tumors(0.1), rules, slowdown=2.0)
    assert len(found.broken) == 4
