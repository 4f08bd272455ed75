"""DICOM files of scans whose voxels and geometry are known, written slice by slice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless
from pydicom.valuerep import DSfloat

from dyntransnet.imaging.scan import Mask, Scan

NAME, PERSON = "Doe^Jane", "MRN-4711"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
ROOT = "1.2.826.0.1.3680043.8.498"
WORLD = f"{ROOT}.7"
LIVER, MASS = ("SCT", "10200004"), ("SCT", "4147007")


def decimals(values: Sequence[float]) -> list[DSfloat]:
    return [DSfloat(float(value), auto_format=True) for value in values]


def save_series(
    folder: Path,
    scan: Scan,
    *,
    modality: str = "CT",
    series: int = 1,
    person: str = PERSON,
    study: int = 1,
    slopes: Sequence[float] = (1.0,),
    intercepts: Sequence[float] = (-1024.0,),
    syntax: UID = ExplicitVRLittleEndian,
    slide_mm: float = 0.0,
    shift_mm: Sequence[float] = (),
    **tags: object,
) -> list[Path]:
    """Write a slice for each step along the scan's last axis; names and numbers run backwards.

    Args:
        slopes: of the slices in turn; likewise the intercepts.
        slide_mm: how far each slice lies beside the one below, as under a tilted gantry.
        shift_mm: how far the first slices lie off their place along the last axis.
        tags: put into each slice over what is written of itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = LPS @ scan.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / spacing
    paths = []
    for place in range(scan.voxels.shape[2]):
        shift = shift_mm[place] if place < len(shift_mm) else 0.0
        position = lps[:3, 3] + axes[:, 2] * (place * spacing[2] + shift)
        slope, intercept = slopes[place % len(slopes)], intercepts[place % len(intercepts)]
        stored = np.rint((scan.voxels[:, :, place].T - intercept) / slope)
        one = _dataset(modality, series, syntax, 1000 - place)
        one.PatientID, one.StudyInstanceUID = person, f"{ROOT}.1.{study}"
        one.Rows, one.Columns = stored.shape
        one.ImagePositionPatient = decimals(position + axes[:, 0] * slide_mm * place)
        one.ImageOrientationPatient = decimals([*axes[:, 0], *axes[:, 1]])
        one.PixelSpacing = decimals([spacing[1], spacing[0]])
        one.RescaleSlope, one.RescaleIntercept = decimals([slope, intercept])
        one.SliceThickness = decimals([9.0])[0]  # wrong, as scanners' own often is
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        endian = ">i2" if syntax == ExplicitVRBigEndian else "<i2"
        one.PixelData = stored.astype(endian).tobytes()
        one["PixelData"].VR = "OW"
        for name, value in tags.items():
            setattr(one, name, value)
        if syntax == RLELossless:
            one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            one.compress(RLELossless, generate_instance_uid=False)
        paths.append(folder / f"{series}-{1000 - place}")
        one.save_as(paths[-1], enforce_file_format=True)
    return paths


def save_segmentation(
    path: Path,
    mask: Mask,
    segments: Sequence[tuple[int, tuple[str, str]]] = ((1, LIVER), (2, MASS)),
    *,
    region: tuple[str, str] | None = None,
    kind: str = "BINARY",
    drawn_on: int = 1,
    world: str = WORLD,
) -> Path:
    """Write a DICOM SEG with a segment for each label and its code; empty planes are left out.

    Args:
        region: the anatomic region of each segment that is not coded as liver.
        drawn_on: number of the series that it refers to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    found = _dataset("SEG", 90, ExplicitVRLittleEndian, 1)
    found.PatientID, found.FrameOfReferenceUID = PERSON, world
    found.SegmentationType, found.MaximumFractionalValue = kind, 200
    found.ReferencedSeriesSequence = Items([_item(SeriesInstanceUID=f"{ROOT}.2.{drawn_on}")])
    found.SegmentSequence = Items(
        [_segment(number, code, region) for number, (_, code) in enumerate(segments, start=1)]
    )
    lps = LPS @ mask.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / spacing
    measures = _item(PixelSpacing=decimals([spacing[1], spacing[0]]))
    turn = _item(ImageOrientationPatient=decimals([*axes[:, 0], *axes[:, 1]]))
    found.SharedFunctionalGroupsSequence = Items(
        [_item(PixelMeasuresSequence=Items([measures]), PlaneOrientationSequence=Items([turn]))]
    )
    planes, groups = [], []
    for number, (label, _) in enumerate(segments, start=1):
        for place in np.flatnonzero((mask.labels == label).any(axis=(0, 1))):
            position = (lps @ [0, 0, place, 1])[:3]
            planes.append((mask.labels[:, :, place] == label).T)
            groups.append(
                _item(
                    SegmentIdentificationSequence=Items([_item(ReferencedSegmentNumber=number)]),
                    PlanePositionSequence=Items([_item(ImagePositionPatient=decimals(position))]),
                )
            )
    frames = np.array(planes, np.uint8)
    found.PerFrameFunctionalGroupsSequence = Items(groups)
    found.NumberOfFrames, found.Rows, found.Columns = frames.shape
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 1 if kind == "BINARY" else 8
    found.BitsAllocated, found.BitsStored, found.HighBit = bits, bits, bits - 1
    found.PixelRepresentation = 0
    found.PixelData = pack_bits(frames) if bits == 1 else (frames * 200).tobytes()
    found["PixelData"].VR = "OB"
    found.save_as(path, enforce_file_format=True)
    return path


def _dataset(modality: str, series: int, syntax: UID, instance: int) -> Dataset:
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    found.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.3.{series}.{instance}"
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID
    found.Modality, found.SeriesNumber, found.InstanceNumber = modality, series, instance
    found.SeriesInstanceUID, found.FrameOfReferenceUID = f"{ROOT}.2.{series}", WORLD
    found.PatientName, found.PatientBirthDate = NAME, "19010203"
    found.SeriesDescription = f"Liver of {NAME}"
    return found


def _item(**tags: object) -> Dataset:
    found = Dataset()
    for name, value in tags.items():
        setattr(found, name, value)
    return found


def _code(code: tuple[str, str]) -> Items:
    return Items([_item(CodingSchemeDesignator=code[0], CodeValue=code[1], CodeMeaning="x")])


def _segment(number: int, code: tuple[str, str], region: tuple[str, str] | None) -> Dataset:
    found = _item(SegmentNumber=number, SegmentLabel=NAME)
    found.SegmentedPropertyTypeCodeSequence = _code(code)
    if region and code != LIVER:
        found.AnatomicRegionSequence = _code(region)
    return found
