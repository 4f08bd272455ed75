import math

import pytest

from dyntransnet.scoring.report.contents import choose_cases

DICES = {f"c{n}": [0.9, 0.1 * n] for n in (3, 1, 6, 2, 5)}
"""From worst to best: c1, c2, c3, c5, c6."""


@pytest.mark.parametrize(
    ("count", "chosen"),
    [
        (0, {}),
        (1, {"c1": "worst case"}),
        (2, {"c1": "worst case", "c6": "best case"}),
        (3, {"c1": "worst case", "c3": "median case", "c6": "best case"}),
        (4, {"c1": "worst case", "c2": "2nd worst case", "c3": "median case", "c6": "best case"}),
    ],
)
def test_the_worst_the_best_and_the_median_case_come_first(count, chosen):
    assert list(choose_cases(DICES, count).items()) == list(chosen.items())


def test_there_are_never_more_pictures_than_cases():
    assert [*choose_cases(DICES, 9)] == ["c1", "c2", "c3", "c5", "c6"]
    assert choose_cases({"a": [0.5]}, 4) == {"a": "only case"}
    assert choose_cases({"a": [0.5], "b": [0.4]}, 4) == {"b": "worst case", "a": "best case"}
    assert choose_cases({}, 4) == {}


def test_what_is_not_defined_lowers_no_case():
    dices = {"healthy": [0.9, math.nan], "missed": [0.95, 0.0], "empty": [math.nan, math.nan]}
    assert [*choose_cases(dices, 3)] == ["missed", "healthy", "empty"]


@pytest.mark.parametrize(("at", "name"), [(2, "3rd"), (10, "11th"), (11, "12th"), (20, "21st")])
def test_ranks_are_said_as_one_says_them(at, name):
    dices = {f"c{n:02}": [n / 100] for n in range(60)}
    assert choose_cases(dices, 40)[f"c{at:02}"] == f"{name} worst case"
