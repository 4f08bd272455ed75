import numpy as np
import pytest

from builders import affine_of, contract_of, distance_to, off_center
from dyntransnet.contract import FINGERPRINT_FILE, IntensityWindow
from dyntransnet.errors import ModelError
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.fingerprint import (
    Fingerprint,
    fingerprint_of,
    read_fingerprint,
    traits_of,
)
from dyntransnet.imaging.geometry import Placement
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.quality import MEANING, UNSURE_BITS, Flag, liver_entropy
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.imaging.segment import ProbabilityMap

SHAPE, SPACING = (40, 22, 34), (2.0, 4.0, 2.5)
OBLIQUE = affine_of(SHAPE, SPACING, "LSA", tilt_deg=8)
"""Slices lie along the second axis."""

CONTRACT = contract_of(intensity=IntensityWindow(low_hu=-200, high_hu=400))


def bright(windows: np.ndarray) -> np.ndarray:
    """Liver above 40 HU."""
    return np.concatenate([40 * (windows + 0.2), 40 * (windows - 0.9)], axis=1)


def ball(shape=SHAPE, affine=OBLIQUE, *, hu=100, at=(0, 0, 0), radius_mm=22.0) -> Scan:
    inside = distance_to(shape, affine, off_center(*at)) < radius_mm
    return Scan("ball", np.where(inside, hu, -100).astype(np.int16), affine)


def seen(modality="CT") -> Fingerprint:
    """Of a training on balls of 60 to 140 HU."""
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(3):
        scan = ball()
        labels = (scan.voxels > 0).astype(np.uint8)
        noisy = scan.voxels + labels * rng.uniform(-40, 40, SHAPE).astype(np.int16)
        mask = Mask(labels, OBLIQUE)
        cases.append(traits_of(Scan("a", noisy, OBLIQUE), mask, measure(mask), is_trusted=True))
    return fingerprint_of(cases, modality)


def told(scan: Scan, fingerprint: Fingerprint | None = None, predict=bright) -> dict:
    return answer(scan, predict, CONTRACT, fingerprint=fingerprint or seen()).report


def test_a_scan_like_those_of_training_raises_no_flag():
    report = told(ball())
    assert (report["flags"], report["unchecked"]) == ([], [])
    assert report["liver_median"] == 100
    assert 0 < report["liver_entropy"] < UNSURE_BITS


def test_no_liver_is_told_and_leaves_what_hangs_on_it_open():
    report = told(ball(hu=-50))
    assert report["flags"] == ["no_liver"]
    assert report["unchecked"] == ["odd_intensity", "low_confidence"]
    assert (report["liver_entropy"], report["liver_median"]) == (None, None)


@pytest.mark.parametrize("at", [(34, 0, 0), (-34, 0, 0), (0, 34, 0), (0, 0, 38), (0, 0, -38)])
def test_a_liver_that_reaches_a_border_is_told(at):
    assert "liver_at_border" in told(ball(at=at))["flags"]


@pytest.mark.parametrize(("slices", "is_told"), [(10, True), (11, False)])
def test_far_fewer_slices_than_in_training_are_told(slices, is_told):
    shape = (40, slices, 34)
    affine = affine_of(shape, SPACING, "LSA", tilt_deg=8)
    assert ("few_slices" in told(ball(shape, affine, radius_mm=12))["flags"]) == is_told


@pytest.mark.parametrize(("hu", "is_told"), [(55, True), (70, False), (130, False), (150, True)])
def test_livers_of_other_values_than_in_training_are_told(hu, is_told):
    assert ("odd_intensity" in told(ball(hu=hu))["flags"]) == is_told


def test_probabilities_near_a_half_are_told():
    report = told(ball(), predict=lambda windows: bright(windows) / 12)
    assert report["flags"] == ["low_confidence"]
    assert report["liver_entropy"] > UNSURE_BITS


def test_without_a_fingerprint_two_flags_stay_open():
    report = answer(ball(), bright, CONTRACT).report
    assert report["unchecked"] == ["few_slices", "odd_intensity"]


def test_values_of_an_mri_have_no_unit_to_compare():
    assert told(ball(hu=350), seen("MR"))["unchecked"] == ["odd_intensity"]


def test_entropy_is_that_of_the_voxels_in_the_liver():
    liver = np.array([0.5, 0.75, 1.0, 0.49, 0.0, 0.2], np.float32).reshape(1, 2, 3)
    placement = Placement.of((1, 2, 3), np.diag([3.0, 3, 3, 1]), (3.0, 3.0, 3.0))
    found = ProbabilityMap(np.stack([liver, liver]), placement)
    of_three_quarters = 0.25 * 2 + 0.75 * np.log2(4 / 3)
    assert liver_entropy(found, 0.5) == pytest.approx((1 + of_three_quarters) / 3, abs=1e-6)


def test_every_flag_has_a_meaning():
    assert set(MEANING) == set(Flag)


def test_a_damaged_fingerprint_is_named(tmp_path):
    assert read_fingerprint(tmp_path) is None
    (tmp_path / FINGERPRINT_FILE).write_text("{}")
    with pytest.raises(ModelError, match=r"fingerprint\.json: modality is not valid, Field"):
        read_fingerprint(tmp_path)
