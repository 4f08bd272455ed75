"""Volumes and lesions as a Structured Report: TID 1500, in a Comprehensive 3D SR."""

from typing import Any

import numpy as np

from dyntransnet.contract import Label, Modality
from dyntransnet.imaging.pacs.coding import (
    ABNORMAL,
    ARTIFICIAL_INTELLIGENCE,
    CENTER_OF_MASS,
    DEVICE,
    DIAMETER,
    EQUAL_VOLUME,
    LIVER,
    MILLILITER,
    MILLIMETER,
    NEOPLASM,
    ORGAN,
    OWN_SCHEME,
    PERCENT,
    PROCEDURE,
    TUMOR_BURDEN,
    VOLUME,
)
from dyntransnet.imaging.pacs.maker import NAME, Maker, blank_slices, keep, load_highdicom, new_uid
from dyntransnet.imaging.pacs.seg_file import TUMORS
from dyntransnet.imaging.pacs.source import SeriesScan
from dyntransnet.imaging.scan import LPS_TO_RAS

SERIES_NUMBER = 301

Report = dict[str, Any]


def report_of(report: Report, segmentation: Any, scan: SeriesScan, maker: Maker) -> Any:
    """A Structured Report, not yet written: complete, preliminary, verified by no one.

    One group of measurements for each segment, which refers to it, and one for each lesion,
    which says where its center is.

    Args:
        report: of a ``Segmentation``: volumes, burden, lesions.
        segmentation: the DICOM SEG.
        scan: what it is a segmentation of.
        maker: the model that made it.

    Returns:
        A ``highdicom.sr.Comprehensive3DSR``, with the source's patient and study.
    """
    highdicom = load_highdicom()
    content = _Content(highdicom.sr, segmentation, maker)
    slices = blank_slices(scan.source)
    found = highdicom.sr.Comprehensive3DSR(
        evidence=[*slices, segmentation],
        content=content.report(report, scan.source.slices[0].Modality),
        series_instance_uid=new_uid(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=new_uid(),
        instance_number=1,
        is_complete=True,
        series_description="Measurements of the liver and its tumors",
        coding_schemes=[
            highdicom.coding_schemes.CodingSchemeIdentificationItem(OWN_SCHEME, name=NAME)
        ],
        **maker.equipment,
    )
    keep(found, scan.source)
    return found


class _Content:
    """Content items about one segmentation."""

    def __init__(self, sr: Any, segmentation: Any, maker: Maker) -> None:
        self.sr, self.segmentation, self.maker = sr, segmentation, maker

    def report(self, report: Report, modality: Modality) -> Any:
        observer = self.sr.DeviceObserverIdentifyingAttributes(
            uid=self.maker.device_uid,
            name=NAME,
            manufacturer_name=NAME,
            model_name=self.maker.network,
            serial_number=self.maker.model_sha256,
        )
        lesions = enumerate(report["lesions"], start=1)
        return self.sr.MeasurementReport(
            observation_context=self.sr.ObservationContext(
                observer_device_context=self.sr.ObserverContext(DEVICE, observer)
            ),
            procedure_reported=PROCEDURE[modality],
            imaging_measurements=[
                self._liver(report),
                self._tumors(report),
                *(self._lesion(number, lesion) for number, lesion in lesions),
            ],
        )

    def _liver(self, report: Report) -> Any:
        return self.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            **self._segment(Label.LIVER),
            **self._finding(Label.LIVER),
            algorithm_id=self._algorithm(),
            measurements=[self.sr.Measurement(VOLUME, report["liver_ml"], MILLILITER)],
        )

    def _tumors(self, report: Report) -> Any:
        """Refers to their segment, where there is one."""
        content = {
            **self._finding(Label.TUMOR),
            "algorithm_id": self._algorithm(),
            "measurements": [
                self.sr.Measurement(VOLUME, report["tumor_ml"], MILLILITER),
                self.sr.Measurement(TUMOR_BURDEN, 100 * report["tumor_burden"], PERCENT),
            ],
        }
        if len(self.segmentation.SegmentSequence) < Label.TUMOR:
            name = self.sr.TrackingIdentifier(new_uid(), TUMORS)
            return self.sr.MeasurementsAndQualitativeEvaluations(name, **content)
        return self.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            **self._segment(Label.TUMOR), **content
        )

    def _lesion(self, number: int, lesion: dict[str, Any]) -> Any:
        x, y, z = (LPS_TO_RAS @ [*lesion["center_mm"], 1.0])[:3]
        center = self.sr.CoordinatesForMeasurement3D(
            self.sr.GraphicTypeValues3D.POINT,
            np.array([[x, y, z]]),
            self.segmentation.FrameOfReferenceUID,
            purpose=CENTER_OF_MASS,
        )
        return self.sr.MeasurementsAndQualitativeEvaluations(
            self.sr.TrackingIdentifier(new_uid(), f"Lesion {number}"),
            **self._finding(Label.TUMOR),
            measurements=[
                self.sr.Measurement(
                    VOLUME, lesion["volume_ml"], MILLILITER, referenced_coordinates=[center]
                ),
                self.sr.Measurement(
                    DIAMETER, lesion["diameter_mm"], MILLIMETER, method=EQUAL_VOLUME
                ),
            ],
            source_images=[
                self.sr.SourceImageForMeasurementGroup(
                    self.segmentation.SOPClassUID, self.segmentation.SOPInstanceUID
                )
            ],
        )

    def _segment(self, label: Label) -> dict[str, Any]:
        """What a group of measurements is about."""
        segment = self.segmentation.SegmentSequence[label - 1]
        series = self.segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
        return {
            "tracking_identifier": self.sr.TrackingIdentifier(
                segment.TrackingUID, segment.TrackingID
            ),
            "referenced_segment": self.sr.ReferencedSegment(
                self.segmentation.SOPClassUID,
                self.segmentation.SOPInstanceUID,
                segment.SegmentNumber,
                source_series=self.sr.SourceSeriesForSegmentation(series),
            ),
        }

    def _finding(self, label: Label) -> dict[str, Any]:
        """What was found, and where."""
        return {
            "finding_category": ORGAN if label == Label.LIVER else ABNORMAL,
            "finding_type": LIVER if label == Label.LIVER else NEOPLASM,
            "finding_sites": [self.sr.FindingSite(LIVER)],
        }

    def _algorithm(self) -> Any:
        return self.sr.AlgorithmIdentification(
            f"{NAME} {self.maker.network}",
            self.maker.version,
            parameters=[f"model_sha256={self.maker.model_sha256}"],
            family=ARTIFICIAL_INTELLIGENCE,
            manufacturer=NAME,
        )
