import highdicom
import numpy as np
import pydicom
import pytest

from builders import SPACING
from dicoms import LPS, WORLD
from dyntransnet.imaging.dicom.segments import read_segments
from dyntransnet.imaging.scan import spacing_of
from hospital import MODEL, answered, labels_of, scan_of, world_of_label, world_of_segment

TURNS = [("LPS", 0.0), ("RAS", 0.0), ("PSR", 0.0), ("ASL", 14.0), ("SLA", 9.0), ("LPI", 21.0)]


@pytest.mark.parametrize(("code", "tilt_deg"), TURNS)
def test_each_pixel_lies_where_its_voxel_was_before_it_was_dicom(tmp_path, code, tilt_deg):
    scan = scan_of(code, tilt_deg)
    *_, path, _ = answered(tmp_path, scan)
    for label in (1, 2):
        expected = world_of_label(scan, label)
        np.testing.assert_allclose(world_of_segment(path, label), expected, atol=2e-3)


@pytest.mark.parametrize(("code", "tilt_deg"), TURNS)
def test_this_package_reads_its_own_segments_voxel_for_voxel(tmp_path, code, tilt_deg):
    got, found, path, _ = answered(tmp_path, scan_of(code, tilt_deg))
    back = read_segments([path], got, WORLD, "case")
    np.testing.assert_array_equal(back.labels, found.mask.labels)
    assert set(np.unique(back.labels)) == {0, 1, 2}


@pytest.mark.parametrize(("code", "tilt_deg"), TURNS)
def test_highdicom_reads_the_same_volume_at_the_same_place(tmp_path, code, tilt_deg):
    got, found, path, _ = answered(tmp_path, scan_of(code, tilt_deg))
    volume = highdicom.seg.segread(path).get_volume(allow_missing_positions=True)
    slices, rows, columns, _ = volume.array.shape
    at = np.linalg.inv(LPS @ got.affine) @ volume.affine
    index = np.indices((slices, rows, columns)).reshape(3, -1)
    x, y, z = np.rint(at[:3, :3] @ index + at[:3, 3:]).astype(int)
    np.testing.assert_allclose(at[:3, :3] @ index + at[:3, 3:], [x, y, z], atol=0.01)
    for label in (1, 2):
        inside = found.mask.labels[x, y, z] >= label
        np.testing.assert_array_equal(volume.array[..., label - 1].ravel(), inside)
        assert inside.sum() == (found.mask.labels >= label).sum()


def test_slices_that_a_scanner_rounded_keep_their_own_positions(tmp_path):
    got, found, path, _ = answered(tmp_path, scan_of(), shift_mm=(0.0, 0.1, -0.1, 0.1))
    written = {
        tuple(group.PlanePositionSequence[0].ImagePositionPatient)
        for group in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    }
    stored = {tuple(one.ImagePositionPatient) for one in got.source.slices}
    assert written <= stored
    np.testing.assert_array_equal(
        read_segments([path], got, WORLD, "case").labels, found.mask.labels
    )


def test_spacing_is_that_of_the_positions_whatever_the_thickness_says(tmp_path):
    got, *_, path, _ = answered(tmp_path, scan_of("ASL", 14.0), SliceThickness=None)
    (measures,) = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.SpacingBetweenSlices == pytest.approx(spacing_of(got.affine)[2])
    assert measures.SliceThickness == pytest.approx(SPACING[2])
    assert measures.PixelSpacing == pytest.approx([SPACING[1], SPACING[0]])


def test_frames_refer_to_the_slices_they_were_drawn_on(tmp_path):
    got, *_, path, _ = answered(tmp_path, scan_of())
    found = pydicom.dcmread(path)
    places = {str(one.SOPInstanceUID): one.ImagePositionPatient for one in got.source.slices}
    (series,) = found.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == got.source.slices[0].SeriesInstanceUID
    assert len(series.ReferencedInstanceSequence) == len(places)
    for group in found.PerFrameFunctionalGroupsSequence:
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        place = group.PlanePositionSequence[0].ImagePositionPatient
        assert places[image.ReferencedSOPInstanceUID] == place
    assert found.FrameOfReferenceUID == WORLD


def test_segments_say_what_they_are_and_who_found_them(tmp_path):
    *_, path, _ = answered(tmp_path, scan_of())
    found = highdicom.seg.segread(path)
    liver, tumors = found.SegmentSequence
    assert (found.SegmentationType, found.SegmentsOverlap) == ("BINARY", "YES")
    assert code_of(liver.SegmentedPropertyTypeCodeSequence) == ("SCT", "10200004", "Liver")
    assert code_of(tumors.SegmentedPropertyTypeCodeSequence) == ("SCT", "108369006", "Neoplasm")
    assert code_of(tumors.AnatomicRegionSequence) == ("SCT", "10200004", "Liver")
    for segment in (liver, tumors):
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert algorithm.AlgorithmName == "dyntransnet made"
        assert algorithm.AlgorithmVersion == found.SoftwareVersions
        assert algorithm.AlgorithmParameters == f"model_sha256={MODEL['model_sha256']}"
    assert found.DeviceSerialNumber == MODEL["model_sha256"]


def code_of(sequence: pydicom.Sequence) -> tuple[str, str, str]:
    (item,) = sequence
    return item.CodingSchemeDesignator, item.CodeValue, item.CodeMeaning


def test_without_a_tumor_there_is_one_segment(tmp_path):
    scan = scan_of("PSR")
    got, found, path, _ = answered(tmp_path, scan, np.minimum(labels_of(scan), 1))
    assert [one.SegmentLabel for one in pydicom.dcmread(path).SegmentSequence] == ["Liver"]
    back = read_segments([path], got, WORLD, "case")
    np.testing.assert_array_equal(back.labels, found.mask.labels)


def test_without_a_liver_every_frame_says_so(tmp_path):
    scan = scan_of()
    got, _, path, _ = answered(tmp_path, scan, np.zeros_like(labels_of(scan)))
    found = pydicom.dcmread(path)
    assert found.NumberOfFrames == scan.voxels.shape[2]
    assert not read_segments([path], got, WORLD, "case").labels.any()


def test_a_single_frame_of_liver_is_enough(tmp_path):
    labels = np.zeros_like(labels_of(scan_of()))
    labels[3:9, 5:8, 11] = 1
    labels[4, 6, 11] = 2
    got, _, path, _ = answered(tmp_path, scan_of(), labels)
    assert pydicom.dcmread(path).NumberOfFrames == 2
    np.testing.assert_array_equal(read_segments([path], got, WORLD, "case").labels, labels)


def test_an_mr_series_is_answered_like_a_ct(tmp_path):
    image = "1.2.840.10008.5.1.4.1.1.4"
    got, found, path, _ = answered(tmp_path, scan_of("SLA", 9.0), modality="MR", SOPClassUID=image)
    reference = pydicom.dcmread(path).SourceImageSequence[0]
    assert reference.ReferencedSOPClassUID == image
    np.testing.assert_array_equal(
        read_segments([path], got, WORLD, "case").labels, found.mask.labels
    )


def test_two_answers_to_one_series_are_two_instances(tmp_path):
    names = set()
    for place in ("a", "b"):
        *_, path, report = answered(tmp_path / place, scan_of())
        for file in (path, report):
            found = pydicom.dcmread(file)
            names |= {found.SOPInstanceUID, found.SeriesInstanceUID}
            assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
    assert len(names) == 8
