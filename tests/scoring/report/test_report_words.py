import math

import pytest

from dyntransnet.scoring.report.words import digits_of, name_of, range_of, shown

DASH = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.12345, 3, "0.123"), (1234567, 3, "1,234,567"), (None, 3, DASH), (math.nan, 1, DASH),
     (-0.5, 1, "-0.5")],
)  # fmt: skip
def test_numbers_are_shown_with_the_digits_that_make_sense(value, digits, text):
    assert shown(value, digits) == text


@pytest.mark.parametrize(
    ("key", "name", "digits"),
    [
        ("nsd", "NSD at 1.5 mm", 3),
        ("hd95_mm", "HD95, mm", 2),
        ("volume_error_ml", "Volume error, ml", 1),
        ("both_empty", "Both empty", 3),
    ],
)
def test_scores_have_names_and_units(key, name, digits):
    assert (name_of(key, 1.5), digits_of(key)) == (name, digits)


def test_a_range_needs_both_ends():
    assert range_of(0.25, 0.5, 2) == "0.25 to 0.50"
    assert range_of(None, 0.5) == DASH
