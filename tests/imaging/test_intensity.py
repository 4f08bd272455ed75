import numpy as np
import pytest

from builders import SHAPE, blobs
from dyntransnet.contract import IntensityWindow, IntensityZScore
from dyntransnet.imaging.intensity import AIR, body_of, normalize, padding_of

RULE = IntensityWindow(low_hu=-160, high_hu=240)
ALL = IntensityZScore(percentiles=(0, 100), deviations=4)
CLIPPED = IntensityZScore(percentiles=(5, 90), deviations=4)
INSIDE = np.zeros((30, 26, 20), bool)
INSIDE[6:24, 5:20, 3:17] = True


def body(low: float = 200, high: float = 600, seed: int = 0) -> np.ndarray:
    """An MRI: values between low and high in a box, around it the noise of air."""
    rng = np.random.default_rng(seed)
    air = np.abs(rng.normal(0, 3, INSIDE.shape))
    return np.where(INSIDE, rng.uniform(low, high, INSIDE.shape), air).astype(np.float32)


@pytest.mark.parametrize(
    ("hu", "expected"), [(-1000, -1), (-160, -1), (-60, -0.5), (40, 0), (240, 1), (3000, 1)]
)
def test_known_hounsfield_units_have_known_values(hu, expected):
    value = normalize(np.full(SHAPE, hu, np.float32), RULE)
    np.testing.assert_allclose(value, expected, atol=1e-6)


def test_air_is_what_lies_below_the_window():
    value = normalize(np.full(SHAPE, -1024, np.float32), RULE)
    assert value.max() == AIR == padding_of(value, RULE)


def test_a_window_pads_with_air_where_the_scan_has_none():
    assert padding_of(normalize(np.full(SHAPE, 60, np.float32), RULE), RULE) == AIR


@pytest.mark.parametrize("rule", [RULE, ALL, CLIPPED], ids=lambda rule: rule.kind)
def test_brighter_never_becomes_darker(rule):
    values = np.sort(blobs(SHAPE, seed=1).ravel() * 300).reshape(SHAPE)
    assert (np.diff(normalize(values, rule).ravel()) >= 0).all()


def test_the_body_is_what_is_not_air():
    np.testing.assert_array_equal(body_of(body()), INSIDE)


def test_the_body_has_mean_0_and_the_deviation_that_was_asked_for():
    found = normalize(body(), ALL)
    assert found[INSIDE].mean() == pytest.approx(0, abs=1e-4)
    assert found[INSIDE].std() == pytest.approx(1 / 4, abs=1e-4)
    assert found.dtype == np.float32


def test_known_intensities_have_known_scores():
    """Half the body 200, half 600: mean 400, deviation 200; air is clipped to the darkest body."""
    volume = np.where(INSIDE, 200, 0).astype(np.float32)
    volume[6:15, 5:20, 3:17] = 600
    found = normalize(volume, ALL)
    expected = np.where(volume == 600, 1 / 4, -1 / 4)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_lies_beyond_the_percentiles_is_clipped_before_anything_is_measured():
    volume = body()
    low, high = np.percentile(volume[INSIDE], (5, 90))
    clipped = volume.clip(low, high)
    expected = (clipped - clipped[INSIDE].mean()) / (4 * clipped[INSIDE].std())
    np.testing.assert_allclose(normalize(volume, CLIPPED), expected, atol=1e-5)


def test_what_lies_beyond_the_deviations_is_clipped():
    rule = IntensityZScore(percentiles=(0, 100), deviations=0.5)
    found = normalize(body(), rule)
    assert (found.min(), found.max()) == (-1, 1)


@pytest.mark.parametrize(("scale", "offset"), [(0.01, 0), (7, 0), (1, -500), (3, 40)])
@pytest.mark.parametrize("rule", [ALL, CLIPPED])
def test_the_units_of_mri_do_not_matter(rule, scale, offset):
    found = normalize(body() * scale + offset, rule)
    np.testing.assert_allclose(found, normalize(body(), rule), atol=1e-3)


@pytest.mark.parametrize("rule", [ALL, CLIPPED])
def test_a_larger_field_of_view_changes_nothing_and_padding_is_its_air(rule):
    around = np.abs(np.random.default_rng(5).normal(0, 3, (50, 40, 30))).astype(np.float32)
    around[10:40, 7:33, 5:25] = body()
    inner, outer = normalize(body(), rule), normalize(around, rule)
    np.testing.assert_allclose(outer[10:40, 7:33, 5:25], inner, atol=1e-3)
    np.testing.assert_allclose(outer[:10], padding_of(inner, rule), atol=1e-3)


@pytest.mark.parametrize("value", [0.0, -7.0, 300.0])
def test_a_scan_of_one_value_is_air(value):
    assert (normalize(np.full(SHAPE, value, np.float32), CLIPPED) == AIR).all()


def test_a_body_of_one_value_is_finite():
    found = normalize(np.where(INSIDE, 100, 0).astype(np.float32), CLIPPED)
    assert np.isfinite(found).all()
