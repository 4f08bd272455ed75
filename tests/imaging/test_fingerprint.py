import json

import numpy as np
import pytest
from pydantic import ValidationError

from builders import affine_of, case_of
from dyntransnet.imaging.fingerprint import SAMPLES, Fingerprint, Traits, fingerprint_of, traits_of
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import Mask, Scan

PLAIN = Traits(
    is_trusted=True,
    spacing_mm=(0.8, 0.7, 2.5),
    shape=(512, 500, 100),
    foreground=np.arange(1001, dtype=np.float32),
    liver_ml=1500.0,
    tumors_mm=(8.0, 20.0),
)


def like_plain(**changes) -> Traits:
    return Traits(**vars(PLAIN) | changes)


def test_traits_have_the_axes_of_the_patient_whatever_those_of_the_file():
    shape = (19, 24, 13)
    for code, spacing in (("RAS", (1.5, 0.9, 4.0)), ("SLA", (4.0, 1.5, 0.9))):
        stored = shape if code == "RAS" else (shape[2], shape[0], shape[1])
        affine = affine_of(stored, spacing, code, tilt_deg=5)
        scan, mask = case_of(stored, affine)
        found = traits_of(scan, mask, measure(mask), is_trusted=True)
        assert found.spacing_mm == pytest.approx((1.5, 0.9, 4.0))
        assert found.shape == shape


def test_the_foreground_is_what_is_labeled_and_no_case_counts_more():
    shape = (60, 50, 31)
    scan, mask = case_of(shape)
    inside = scan.voxels[mask.labels > 0]
    found = traits_of(scan, mask, measure(mask), is_trusted=True).foreground
    assert len(inside) > 2 * SAMPLES >= 2 * len(found) > SAMPLES
    np.testing.assert_array_equal(found, inside[:: -(-len(inside) // SAMPLES)])
    few = Mask((np.indices(shape).sum(axis=0) < 3).astype(np.uint8), mask.affine)
    assert len(traits_of(scan, few, measure(few), is_trusted=True).foreground) == 10


def test_the_numbers_are_those_of_the_cases_together():
    other = like_plain(
        spacing_mm=(0.6, 0.7, 5.0),
        foreground=np.arange(1001, 2001, dtype=np.float32),
        liver_ml=1100.0,
        tumors_mm=(),
    )
    found = fingerprint_of([PLAIN, other], "CT")
    x, y, z = found.spacing_mm
    assert (x.low, x.median, x.high) == (0.6, 0.7, 0.8)
    assert (y.p10, y.p90) == (0.7, 0.7)
    assert (z.p10, z.median) == (2.75, 3.75)
    values = np.arange(2001.0)
    assert found.foreground.p00_5 == pytest.approx(10.0)
    assert found.foreground.p99_5 == pytest.approx(1990.0)
    assert found.foreground.mean == pytest.approx(values.mean())
    assert found.foreground.sd == pytest.approx(values.std(), abs=1e-3)
    assert found.liver_ml.median == 1300
    assert (found.cases, found.cases_with_tumor, found.tumors.median) == (2, 1, 1)
    assert (found.tumor_mm.low, found.tumor_mm.high) == (8, 20)


def test_millimeters_of_a_case_without_spacing_count_for_nothing():
    lost = like_plain(is_trusted=False, spacing_mm=(1.0, 1.0, 1.0), liver_ml=9.0, tumors_mm=(99.0,))
    alone, both = fingerprint_of([PLAIN], "CT"), fingerprint_of([PLAIN, lost], "CT")
    assert both.spacing_mm == alone.spacing_mm
    assert both.liver_ml == alone.liver_ml
    assert both.tumor_mm == alone.tumor_mm
    assert (both.cases, both.cases_trusted, both.cases_with_tumor) == (2, 1, 2)
    nothing = fingerprint_of([lost], "CT")
    assert (nothing.spacing_mm, nothing.liver_ml, nothing.tumor_mm) == (None, None, None)


def test_it_survives_its_file_and_names_nobody():
    scan, mask = case_of()
    named = Scan("anna-1964", scan.voxels, scan.affine)
    found = fingerprint_of([traits_of(named, mask, measure(mask), is_trusted=True)], "MR")
    text = json.dumps(found.model_dump())
    assert Fingerprint.model_validate_json(text) == found
    assert "anna" not in text


def test_another_format_is_refused():
    with pytest.raises(ValidationError, match="cases"):
        Fingerprint.model_validate({"version": 1})
