import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from builders import blobs
from dyntransnet.errors import ScanError
from dyntransnet.scoring.calibration import pool, region_of, reliability

SHAPE = (20, 10, 8)


def half_full() -> np.ndarray:
    truth = np.zeros(SHAPE, bool)
    truth[::2] = True
    return truth


def constant(value: float) -> np.ndarray:
    return np.full(SHAPE, value, np.float32)


@pytest.mark.parametrize("called", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_a_constant_is_off_by_its_distance_from_the_share(called):
    found = reliability(constant(called), half_full())
    assert found.ece == pytest.approx(abs(called - 0.5), abs=1e-6)
    assert found.brier == pytest.approx(((1 - called) ** 2 + called**2) / 2, abs=1e-6)


def test_the_truth_itself_is_perfect():
    found = reliability(half_full().astype(np.float32), half_full())
    assert (found.ece, found.brier, found.n) == (0, 0, 1600)


def test_errors_of_bins_do_not_cancel():
    """Half of the voxels are called 0.9 and half 0.1, of both one half is inside."""
    called = np.broadcast_to(np.where(np.arange(10) < 5, 0.9, 0.1)[:, None], SHAPE)
    assert reliability(called, half_full()).ece == pytest.approx(0.4)
    assert reliability(called, half_full(), bins=1).ece == pytest.approx(0)


def test_what_is_drawn_from_its_probabilities_is_calibrated():
    chance = np.random.default_rng(3)
    called = chance.random((60, 50, 40))
    found = reliability(called, chance.random(called.shape) < called)
    assert found.ece < 0.01
    assert found.brier == pytest.approx(1 / 6, abs=0.01)  # mean of p (1 - p)


def test_probabilities_fall_into_bins_of_equal_width():
    values = np.array([0.0, 0.19, 0.2, 0.41, 0.99, 1.0]).reshape(1, 2, 3)
    found = reliability(values, values > 0.5, bins=5)
    assert found.voxels.tolist() == [2, 1, 1, 0, 2]
    assert found.inside.tolist() == [0, 0, 0, 0, 2]
    assert found.called == pytest.approx([0.19, 0.2, 0.41, 0, 1.99])


def test_brier_agrees_with_scikit_learn():
    called = 1 / (1 + np.exp(-3 * blobs(SHAPE, seed=1)))
    truth = blobs(SHAPE, seed=2) > 0.3
    assert reliability(called, truth).brier == pytest.approx(
        brier_score_loss(truth.ravel(), called.ravel()), abs=1e-6
    )


def test_scans_pool_voxel_by_voxel():
    called, truth = constant(0.3), half_full()
    called[:5] = 0.8
    parts = [reliability(called[part], truth[part]) for part in (slice(0, 7), slice(7, 20))]
    whole, pooled = reliability(called, truth), pool(parts)
    assert (pooled.ece, pooled.brier, pooled.n) == pytest.approx((whole.ece, whole.brier, whole.n))


def test_of_no_voxel_nothing_is_defined():
    nothing = reliability(np.zeros((0, 4, 3), np.float32), np.zeros((0, 4, 3), bool))
    assert math.isnan(nothing.ece)
    assert math.isnan(nothing.brier)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, math.nan])
def test_what_is_no_probability_is_refused(wrong):
    called = constant(0.5)
    called[3, 2, 1] = wrong
    with pytest.raises(ScanError, match=r"probabilities must lie in \[0, 1\], got"):
        reliability(called, half_full())


def test_maps_on_another_grid_are_refused():
    with pytest.raises(ScanError, match="must lie on one grid"):
        reliability(constant(0.5).T, half_full())


def test_the_region_is_the_liver_and_20_mm_around_it_within_the_scan():
    liver = np.zeros((60, 50, 9), bool)
    liver[30:40, 2:20, 4:6] = True
    assert region_of(liver, (2.0, 1.5, 8.0)) == (slice(20, 50), slice(0, 34), slice(1, 9))
    assert region_of(liver, (2.0, 1.5, 8.0), margin_mm=0.0) == (
        slice(30, 40), slice(2, 20), slice(4, 6),
    )  # fmt: skip


def test_without_a_liver_the_region_is_the_scan():
    assert region_of(np.zeros((6, 5, 9), bool), (2.0, 1.5, 8.0)) == (
        slice(0, 6), slice(0, 5), slice(0, 9),
    )  # fmt: skip
