"""What David Clunie's validators say of results; they are Debian's package dicom3tools."""

import numpy as np
import pydicom
import pytest

from hospital import answered, errors_in, labels_of, said, scan_of

DESCRIPTIONS = {"x.dcm": "Segmentation", "x.sr.dcm": "Comprehensive3DSR"}


@pytest.mark.parametrize("most", [2, 1, 0])
@pytest.mark.parametrize(("code", "tilt_deg"), [("LPS", 0.0), ("SLA", 14.0)])
def test_each_file_is_an_instance_of_its_kind_without_an_error(tmp_path, code, tilt_deg, most):
    scan = scan_of(code, tilt_deg)
    *_, path, report = answered(tmp_path, scan, np.minimum(labels_of(scan), most))
    for file in (path, report):
        lines = said("dciodvfy", file)
        assert DESCRIPTIONS[file.name] in lines
        assert errors_in(lines) == []


def test_a_broken_file_would_be_told(tmp_path):
    """The test above can fail."""
    *_, path, _ = answered(tmp_path, scan_of())
    found = pydicom.dcmread(path)
    del found.SegmentSequence[0].SegmentAlgorithmType
    found.save_as(path)
    assert "SegmentAlgorithmType" in " ".join(errors_in(said("dciodvfy", path)))


def test_patient_and_study_agree_with_the_series(tmp_path):
    *_, path, report = answered(tmp_path, scan_of())
    source = (tmp_path / "in").iterdir()
    assert errors_in(said("dcentvfy", path, report, *source)) == []
