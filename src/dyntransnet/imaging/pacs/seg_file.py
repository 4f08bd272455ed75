"""A mask as DICOM SEG: the whole liver and its tumors as two binary segments."""

from typing import Any

import numpy as np
from jaxtyping import UInt8
from pydicom import Dataset
from pydicom.valuerep import DSfloat

from dyntransnet.contract import Label
from dyntransnet.imaging.pacs.coding import (
    ABNORMAL,
    ARTIFICIAL_INTELLIGENCE,
    LIVER,
    NEOPLASM,
    ORGAN,
)
from dyntransnet.imaging.pacs.maker import NAME, Maker, blank_slices, keep, load_highdicom, new_uid
from dyntransnet.imaging.pacs.source import SeriesScan
from dyntransnet.imaging.scan import Mask, spacing_of

TUMORS = "Liver tumors"

SERIES_NUMBER = 300
"""As dcmqi numbers segmentations; scanners' own stay below."""

COLORS = {Label.LIVER: (221, 130, 101), Label.TUMOR: (144, 238, 144)}
"""Red, green, blue: 3D Slicer's colors of liver and mass."""


def segmentation_of(mask: Mask, scan: SeriesScan, maker: Maker) -> Any:
    """A DICOM SEG, not yet written.

    A frame lies where its slice lies, by the slice's own position. Frames without liver are
    left out, but not where all are; so is the tumor segment where there is none.

    Args:
        mask: on the scan's grid.
        scan: what it is a mask of.
        maker: the model that made it.

    Returns:
        A ``highdicom.seg.Segmentation``, with the source's patient and study.
    """
    highdicom = load_highdicom()
    labels = [Label.LIVER, Label.TUMOR][: max(int(mask.labels.max()), Label.LIVER)]
    slices, shown = _with_spacing(scan), _span(mask)
    found = highdicom.seg.Segmentation(
        source_images=slices[shown],
        pixel_array=_pixels(mask.labels[:, :, shown], labels),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _segment(number, label, maker, highdicom) for number, label in enumerate(labels, 1)
        ],
        series_instance_uid=new_uid(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=new_uid(),
        instance_number=1,
        content_label="LIVER_AND_TUMORS",
        content_description="Liver and its tumors",
        series_description="Liver and its tumors",
        **maker.equipment,
    )
    found.ContentCreatorName = None
    found.ReferencedSeriesSequence[0].ReferencedInstanceSequence = _references(slices)
    keep(found, scan.source)
    return found


def _with_spacing(scan: SeriesScan) -> list[Dataset]:
    """Slices that say how far they lie apart: what scanners say of it is often wrong."""
    slices, step = blank_slices(scan.source), spacing_of(scan.affine)[2]
    for one in slices:
        one.SpacingBetweenSlices = DSfloat(step, auto_format=True)
        if not one.get("SliceThickness"):
            one.SliceThickness = one.SpacingBetweenSlices
    return slices


def _span(mask: Mask) -> slice:
    """The slices from the first with liver to the last: highdicom takes 10 bytes for a voxel."""
    places = np.flatnonzero(mask.labels.any(axis=(0, 1)))
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(None)


def _pixels(labels: np.ndarray, shown: list[Label]) -> UInt8[np.ndarray, "_ _ _ segments"]:
    """Slices, rows, columns and segments."""
    pixels = np.empty((*labels.T.shape, len(shown)), np.uint8)
    for place, label in enumerate(shown):
        np.greater_equal(labels.T, label, out=pixels[..., place])
    return pixels


def _references(slices: list[Dataset]) -> list[Dataset]:
    """To the whole series: what has no frame was looked at, too."""
    found = []
    for one in slices:
        reference = Dataset()
        reference.ReferencedSOPClassUID = one.SOPClassUID
        reference.ReferencedSOPInstanceUID = one.SOPInstanceUID
        found.append(reference)
    return found


def _segment(number: int, label: Label, maker: Maker, highdicom: Any) -> Any:
    is_liver = label == Label.LIVER
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label="Liver" if is_liver else TUMORS,
        segmented_property_category=ORGAN if is_liver else ABNORMAL,
        segmented_property_type=LIVER if is_liver else NEOPLASM,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=f"{NAME} {maker.network}",
            family=ARTIFICIAL_INTELLIGENCE,
            version=maker.version,
            source=NAME,
            parameters={"model_sha256": maker.model_sha256},
        ),
        tracking_uid=new_uid(),
        tracking_id="Liver" if is_liver else TUMORS,
        anatomic_regions=None if is_liver else [LIVER],
        display_color=highdicom.color.CIELabColor.from_rgb(*COLORS[label]),
    )
