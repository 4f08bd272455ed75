"""Public DICOM series that are not part of the project, there and back."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from dicoms import LPS
from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.segments import read_segments
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts.case import turned_to
from dyntransnet.imaging.pacs.results import write_results
from dyntransnet.imaging.pacs.tree import find_series
from dyntransnet.imaging.scan import read_mask
from hospital import errors_in, found_in, in_order, said, world_of_segment
from test_real_data import DATA, part

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"needs real scans in {DATA} (set DYNTRANSNET_REAL_DATA)"
)
LIVER = Numbering(liver=(5,), tumor=(), others="background")


def named(folder: Path, target: Path) -> Path:
    """A copy of an anonymous series whose slices can be referred to again."""
    target.mkdir()
    for path in folder.iterdir():
        found = pydicom.dcmread(path)
        found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID
        found.StudyInstanceUID, found.SeriesInstanceUID = "2.25.1", "2.25.2"
        found.save_as(target / path.name)
    return target


def test_a_real_mask_lies_in_its_segment_where_its_nifti_file_says(tmp_path):
    (series,) = find_series(named(part("dicom-ct/series"), tmp_path / "in"), "CT")
    scan = series.read(for_dicom=True)
    stored = read_mask(part("dicom-ct/seg_multilabel.nii.gz"), "case", LIVER)
    found = found_in(scan, turned_to(stored, scan).labels)
    target, report = tmp_path / "x.dcm", tmp_path / "x.sr.dcm"
    write_results(found, scan, target, report=report)
    index = np.argwhere(stored.labels > 0)
    world = (LPS @ stored.affine @ np.c_[index, np.ones(len(index))].T)[:3].T
    np.testing.assert_allclose(world_of_segment(target, 1), in_order(world), atol=2e-3)
    world_uid = series.headers[0].frame_of_reference
    back = read_segments([target], scan, world_uid, "case")
    np.testing.assert_array_equal(back.labels, found.mask.labels)
    (liver,) = highdicom.sr.srread(report).content.get_volumetric_roi_measurement_groups()
    assert liver.get_measurements()[0].value == pytest.approx(found.report["liver_ml"])
    for file in (target, report):
        assert errors_in(said("dciodvfy", file)) == []


def test_another_tools_segment_and_ours_hold_the_same_points(tmp_path):
    (series,) = find_series(part("dicom-seg"), "CT")
    scan, theirs = series.read(for_dicom=True), part("dicom-seg/liver.dcm")
    mask = read_segments([theirs], scan, series.headers[0].frame_of_reference, "case")
    write_results(found_in(scan, mask.labels), scan, tmp_path / "x.dcm", report=None)
    one, other = world_of_segment(tmp_path / "x.dcm", 1), world_of_segment(theirs, 1)
    assert len(one) == (mask.labels > 0).sum() > 1000
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_an_anonymous_series_without_uids_is_answered_in_nifti_only():
    (series,) = find_series(part("dicom-ct/series"), "CT")
    with pytest.raises(ScanError, match=r"each slice must have SOPClassUID, .* got 20 without"):
        series.read(for_dicom=True)
    assert series.read(for_dicom=False).voxels.shape == (512, 512, 20)
