from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr import GraphicTypeValues3D
from pydicom.sr.codedict import codes

from dicoms import LPS
from hospital import MODEL, answered, labels_of, scan_of

VOLUME, DIAMETER = codes.SCT.Volume, codes.SCT.Diameter


def content_of(path: Path) -> highdicom.sr.MeasurementReport:
    return highdicom.sr.srread(path).content


def value_of(group, name) -> float:
    (measurement,) = group.get_measurements(name=name)
    return measurement.value


def test_volumes_are_those_of_the_report_and_refer_to_their_segments(tmp_path):
    _, found, path, report = answered(tmp_path, scan_of("PSR", 14.0))
    segmentation = pydicom.dcmread(path)
    groups = content_of(report).get_volumetric_roi_measurement_groups()
    values = [("liver_ml", codes.SCT.Liver), ("tumor_ml", codes.SCT.Neoplasm)]
    for number, (group, (name, finding)) in enumerate(zip(groups, values, strict=True), start=1):
        segment = segmentation.SegmentSequence[number - 1]
        reference = group.referenced_segment
        assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert reference.referenced_segment_numbers == [number]
        assert group.tracking_uid == segment.TrackingUID
        assert group.finding_type == finding
        assert value_of(group, VOLUME) == pytest.approx(found.report[name])
    assert found.report["tumor_ml"] > 1


def test_the_volume_of_each_segment_is_that_of_its_pixels(tmp_path):
    *_, path, report = answered(tmp_path, scan_of("ASL", 9.0))
    found = highdicom.seg.segread(path)
    pixels = found.pixel_array.reshape(found.NumberOfFrames, -1).sum(axis=1)
    (measures,) = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    voxel_ml = np.prod([*measures.PixelSpacing, measures.SpacingBetweenSlices]) / 1000
    owners = [
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for group in found.PerFrameFunctionalGroupsSequence
    ]
    groups = content_of(report).get_volumetric_roi_measurement_groups()
    for number, group in enumerate(groups, start=1):
        counted = pixels[np.array(owners) == number].sum() * voxel_ml
        assert value_of(group, VOLUME) == pytest.approx(counted, rel=1e-6)


def test_each_lesion_has_its_volume_diameter_and_center(tmp_path):
    got, found, path, report = answered(tmp_path, scan_of("SLA", 21.0))
    groups = content_of(report).get_image_measurement_groups()
    lesions = found.report["lesions"]
    assert len(groups) == len(lesions) > 2
    for number, (group, lesion) in enumerate(zip(groups, lesions, strict=True), start=1):
        assert group.tracking_identifier == f"Lesion {number}"
        assert value_of(group, VOLUME) == pytest.approx(lesion["volume_ml"])
        assert value_of(group, DIAMETER) == pytest.approx(lesion["diameter_mm"])
        (volume,) = group.get_measurements(name=VOLUME)
        (point,) = volume.referenced_coordinates
        assert point.graphic_type == GraphicTypeValues3D.POINT
        assert point.frame_of_reference_uid == got.source.slices[0].FrameOfReferenceUID
        expected = (LPS @ [*lesion["center_mm"], 1])[:3]
        np.testing.assert_allclose(point.value[0], expected, atol=1e-3)
        (image,) = group.source_images
        assert image.referenced_sop_instance_uid == pydicom.dcmread(path).SOPInstanceUID


def test_a_healthy_liver_has_a_tumor_volume_of_none(tmp_path):
    labels = np.minimum(labels_of(scan_of()), 1)
    *_, report = answered(tmp_path, scan_of(), labels)
    assert len(content_of(report).get_volumetric_roi_measurement_groups()) == 1
    (tumors,) = content_of(report).get_image_measurement_groups()
    assert tumors.tracking_identifier == "Liver tumors"
    assert value_of(tumors, VOLUME) == 0


def test_the_report_names_the_model_and_is_verified_by_no_one(tmp_path):
    *_, report = answered(tmp_path, scan_of())
    found = highdicom.sr.srread(report)
    (context,) = found.content.get_observer_contexts()
    device = context.observer_identifying_attributes
    assert (device.model_name, device.serial_number) == ("made", MODEL["model_sha256"])
    assert (found.CompletionFlag, found.VerificationFlag, found.PreliminaryFlag) == (
        "COMPLETE", "UNVERIFIED", "PRELIMINARY",
    )  # fmt: skip


def test_the_same_weights_are_the_same_device_everywhere(tmp_path):
    uids = set()
    for place in ("a", "b"):
        *_, report = answered(tmp_path / place, scan_of())
        (context,) = highdicom.sr.srread(report).content.get_observer_contexts()
        uids.add(context.observer_identifying_attributes.uid)
    assert len(uids) == 1


def test_all_that_the_report_refers_to_is_its_evidence(tmp_path):
    got, _, path, report = answered(tmp_path, scan_of())
    (study,) = pydicom.dcmread(report).CurrentRequestedProcedureEvidenceSequence
    listed = {
        image.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    }
    slices = {one.SOPInstanceUID for one in got.source.slices}
    assert listed == slices | {pydicom.dcmread(path).SOPInstanceUID}
