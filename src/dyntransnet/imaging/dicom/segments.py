"""DICOM segmentations: liver and tumor by their codes, put onto a scan's grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from dyntransnet.contract import Label
from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.files import read_tags, refusing_damage
from dyntransnet.imaging.dicom.headers import Plane, plane_of
from dyntransnet.imaging.scan import LPS_TO_RAS, Mask, Scan

CODES = {
    ("SCT", "10200004"): Label.LIVER,
    ("SRT", "T-62000"): Label.LIVER,
    ("SCT", "108369006"): Label.TUMOR,  # neoplasm
    ("SRT", "M-8FFFF"): Label.TUMOR,
    ("SCT", "86049000"): Label.TUMOR,  # neoplasm, primary; 372087000 since 2020
    ("SCT", "372087000"): Label.TUMOR,
    ("SRT", "M-80003"): Label.TUMOR,
    ("SCT", "14799000"): Label.TUMOR,  # neoplasm, secondary
    ("SRT", "M-80006"): Label.TUMOR,
    ("SCT", "128462008"): Label.TUMOR,  # metastasis
    ("SRT", "DF-00436"): Label.TUMOR,
    ("SCT", "4147007"): Label.TUMOR,  # mass
    ("SRT", "M-03000"): Label.TUMOR,
    ("SCT", "52988006"): Label.TUMOR,  # lesion
    ("SRT", "M-01100"): Label.TUMOR,
}
"""Property types of segments, in SNOMED CT and in the older codes of SNOMED RT."""

SCHEMES = {"99SDM": "SRT", "SNM3": "SRT"}
"""Older names of a coding scheme."""

FRACTIONAL = "FRACTIONAL"
KINDS = ("BINARY", FRACTIONAL)

DRAWN_ON = "ReferencedSeriesSequence"

TAGS = (
    "FrameOfReferenceUID",
    "SegmentationType",
    "MaximumFractionalValue",
    "SegmentSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)

MAX_PIXELS = 2**29
"""Of all frames together: four segments of 512 slices."""

OFF_GRID = 0.25
"""How far a segment's pixel may lie from a voxel of the scan, in voxels."""


@dataclass(frozen=True)
class Frame:
    """One plane of one segment.

    Attributes:
        label: liver or tumor.
        plane: where it lies.
        inside: pixels (column, row) that belong to the segment.
    """

    label: Label
    plane: Plane
    inside: np.ndarray


def referenced_series(paths: Sequence[Path], case: str) -> set[str]:
    """The series that segmentations were drawn on.

    Raises:
        ScanError: a file is damaged.
    """
    with refusing_damage(case):
        return {
            str(series.SeriesInstanceUID)
            for path in paths
            for series in read_tags(path, [DRAWN_ON]).get(DRAWN_ON) or ()
        }


def read_segments(paths: Sequence[Path], scan: Scan, frame_of_reference: str, case: str) -> Mask:
    """Put the liver and tumor segments of a scan's segmentations together.

    Where segments overlap, tumor is above liver. Other segments are left out.

    Args:
        paths: DICOM SEG files.
        scan: what they were drawn on.
        frame_of_reference: the scan's; empty if it says none.
        case: what messages call it.

    Raises:
        ScanError: a file is damaged or of an unknown kind, no segment is liver, or a
            segment does not lie on the scan's grid.
    """
    frames = [frame for path in paths for frame in _frames(path, frame_of_reference, case)]
    if not any(frame.label == Label.LIVER for frame in frames):
        raise ScanError(
            f"{case}: a segment must be coded as liver (SCT 10200004 or SRT T-62000), got none",
            code="segments-no-liver",
        )
    labels = np.zeros(scan.voxels.shape, np.uint8, order="F")
    for frame in sorted(frames, key=lambda frame: frame.label):
        labels[_on_scan(frame, scan, case)] = frame.label
    return Mask(labels, scan.affine)


def _frames(path: Path, frame_of_reference: str, case: str) -> list[Frame]:
    with refusing_damage(case):
        found = read_tags(path, TAGS)
        _check_kind(found, frame_of_reference, case)
        labels = {
            int(segment.SegmentNumber): label
            for segment in found.SegmentSequence
            if (label := _label_of(segment))
        }
        return _labeled_frames(found, labels, case)


def _check_kind(found: pydicom.Dataset, frame_of_reference: str, case: str) -> None:
    if found.SegmentationType not in KINDS:
        # Not what it says: in a damaged header anything may stand there.
        raise ScanError(
            f"{case}: a segmentation must be {' or '.join(KINDS)}, got another kind",
            code="unreadable",
        )
    frames = len(found.PerFrameFunctionalGroupsSequence)
    pixels = found.Rows * found.Columns * int(found.NumberOfFrames)
    if int(found.NumberOfFrames) != frames or pixels > MAX_PIXELS:
        raise ScanError(
            f"{case}: a segmentation must say of each of its {frames} frames where it lies, and "
            f"have at most {MAX_PIXELS} pixels, got {found.NumberOfFrames} frames, {pixels} pixels",
            code="too-large" if pixels > MAX_PIXELS else "size-not-header",
        )
    own = str(found.get("FrameOfReferenceUID") or "")
    if own and frame_of_reference and own != frame_of_reference:
        raise ScanError(
            f"{case}: a segmentation must share the scan's world, got another one",
            code="mask-off-grid",
        )


def _label_of(segment: pydicom.Dataset) -> Label | None:
    """Liver, tumor of the liver, or neither."""
    label = _code_of(segment.SegmentedPropertyTypeCodeSequence)
    region = segment.get("AnatomicRegionSequence")
    elsewhere = bool(region) and _code_of(region) != Label.LIVER
    return None if label == Label.TUMOR and elsewhere else label


def _code_of(sequence: Any) -> Label | None:
    code = sequence[0]
    scheme = str(code.CodingSchemeDesignator).strip()
    return CODES.get((SCHEMES.get(scheme, scheme), str(code.CodeValue).strip()))


def _labeled_frames(found: pydicom.Dataset, labels: dict[int, Label], case: str) -> list[Frame]:
    full = int(found.MaximumFractionalValue) if found.SegmentationType == FRACTIONAL else 1
    pixels = found.pixel_array.reshape(-1, found.Rows, found.Columns) >= 0.5 * full
    frames = []
    for inside, groups in zip(pixels, found.PerFrameFunctionalGroupsSequence, strict=True):
        number = int(_group(found, groups, "SegmentIdentification").ReferencedSegmentNumber)
        if number in labels:
            plane = plane_of(
                (int(found.Rows), int(found.Columns)),
                _group(found, groups, "PlanePosition").ImagePositionPatient,
                _group(found, groups, "PlaneOrientation").ImageOrientationPatient,
                _group(found, groups, "PixelMeasures").PixelSpacing,
                case,
            )
            frames.append(Frame(labels[number], plane, np.argwhere(inside.T)))
    return frames


def _group(found: pydicom.Dataset, groups: pydicom.Dataset, name: str) -> pydicom.Dataset:
    """A frame's own functional group, or the one that all frames share."""
    keyword = f"{name}Sequence"
    own = groups if keyword in groups else found.SharedFunctionalGroupsSequence[0]
    return own[keyword][0]


def _on_scan(frame: Frame, scan: Scan, case: str) -> tuple[np.ndarray, ...]:
    """The scan's voxels that a frame's pixels are."""
    plane = frame.plane
    world = np.zeros((4, 3))
    world[:3, 0] = plane.across * plane.spacing_mm[0]
    world[:3, 1] = plane.down * plane.spacing_mm[1]
    world[:, 2] = (*plane.position, 1.0)
    steps = (np.linalg.inv(scan.affine) @ LPS_TO_RAS @ world)[:3]
    whole = np.rint(steps)
    # The farthest pixel's distance from a voxel; small errors of a step add up on the way to it.
    off = (np.abs(steps - whole) @ (plane.columns - 1, plane.rows - 1, 1)).max()
    if off > OFF_GRID or not (np.abs(whole[:, :2]).sum(axis=0) == 1).all():
        raise ScanError(
            f"{case}: segments must lie on the scan's grid within {OFF_GRID} voxels, got {off:.2g}",
            code="mask-off-grid",
        )
    index = (frame.inside @ whole[:, :2].T + whole[:, 2]).astype(np.int64)
    if ((index < 0) | (index >= scan.voxels.shape)).any():
        raise ScanError(
            f"{case}: segments must lie within the scan, got some outside", code="mask-off-grid"
        )
    return tuple(index.T)
