import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from builders import affine_of, blobs, case_of, contract_of
from dyntransnet.errors import ScanError
from dyntransnet.imaging.geometry import resample
from dyntransnet.imaging.scan import Mask, spacing_of
from dyntransnet.imaging.segment import probability_map
from dyntransnet.scoring.calibration import (
    Reliability,
    calibrate,
    pool,
    region_of,
    reliability,
    summarize_calibration,
)
from dyntransnet.scoring.statistics import Resampling

SHAPE = (20, 10, 8)
HOW = Resampling(draws=500, confidence=0.9, seed=3)


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


def test_bins_say_what_their_voxels_have_in_common():
    values = np.array([0.1, 0.3, 0.7, 0.7, 0.9, 0.9]).reshape(1, 2, 3)
    truth = np.array([0, 1, 0, 1, 1, 1], bool).reshape(values.shape)
    low, empty, high = reliability(values, truth, bins=3).rows()
    assert low == pytest.approx(
        {"low": 0, "high": 1 / 3, "voxels": 2, "probability": 0.2, "inside": 0.5}
    )
    assert high == pytest.approx(
        {"low": 2 / 3, "high": 1, "voxels": 4, "probability": 0.8, "inside": 0.75}
    )
    assert empty["voxels"] == 0
    assert math.isnan(empty["probability"])
    assert math.isnan(empty["inside"])


@pytest.mark.parametrize("code", ["RAS", "SLA"])
def test_a_scan_is_gathered_around_its_liver_slab_by_slab(code):
    shape = (40, 30, 37)
    scan, drawn = case_of(shape, affine_of(shape, (2.0, 3.0, 1.5), code, tilt_deg=6), seed=2)
    mask = Mask(np.zeros_like(drawn.labels), drawn.affine)
    mask.labels[20:28, 15:22, 17:25] = drawn.labels[20:28, 15:22, 17:25].clip(1)
    found = probability_map(
        scan, lambda w: np.concatenate([3 * w, 3 * w - 1], axis=1), contract_of()
    )
    box = region_of(mask.labels > 0, spacing_of(mask.affine))
    assert mask.labels[box].size < mask.labels.size
    for (name, one), channel in zip(calibrate(found, mask).items(), found.values, strict=True):
        whole = resample(found.placement.on_scan_axes(channel), found.placement.to_scan)[box]
        truth = mask.labels[box] >= {"liver": 1, "tumor": 2}[name]
        expected = reliability(whole.clip(0, 1), truth)
        assert (one.n, one.ece) == pytest.approx((expected.n, expected.ece))
        assert one.brier == pytest.approx(np.square(whole - truth).mean(), rel=1e-5)


def off_by(distance: float, voxels: int = 100) -> Reliability:
    """Everything is outside, and called so much."""
    called = np.full((voxels, 1, 1), distance)
    return reliability(called, np.zeros(called.shape, bool))


def test_every_voxel_counts_alike_and_patients_are_what_is_drawn():
    cases = {f"c{n}": off_by(0.01 * n, voxels=50 * n) for n in range(1, 9)}
    own = {case: case for case in cases}
    found = summarize_calibration(cases, own, HOW)
    expected = sum(0.01 * n * 50 * n for n in range(1, 9)) / sum(50 * n for n in range(1, 9))
    assert found.ece == pytest.approx(expected)
    low, high = found.intervals["ece"]
    assert 0.03 < low < found.ece < high < 0.08
    assert found.intervals["brier"][0] < found.brier < found.intervals["brier"][1]
    assert (found.cases, found.patients) == (8, 8)
    twins = summarize_calibration(cases, {case: f"p{n // 2}" for n, case in enumerate(own)}, HOW)
    assert (twins.cases, twins.patients, twins.ece) == (8, 4, pytest.approx(expected))
    assert twins.intervals == {"ece": None, "brier": None}


def test_patients_that_are_alike_leave_no_doubt():
    cases = {f"c{n}": off_by(0.2) for n in range(6)}
    found = summarize_calibration(cases, {case: case for case in cases}, HOW)
    assert found.intervals["ece"] == pytest.approx((0.2, 0.2))
    assert found.intervals["brier"] == pytest.approx((0.04, 0.04))
