"""Series as hospitals send them, and what is read of an answer without the code that wrote it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from builders import Shape, affine_of, case_of
from dicoms import LPS, NAME, PERSON, save_series
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.pacs.results import write_results
from dyntransnet.imaging.pacs.source import SeriesScan
from dyntransnet.imaging.pacs.tree import find_series
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.imaging.segment import Segmentation

LIVER_FROM, TUMOR_FROM = 18, 72
MODEL = {"network": "made", "model_sha256": "c" * 64}
SECRETS = [*NAME.split("^"), PERSON, "19010203", "A-77", "Zuweiser"]
CLINICAL = {
    "PatientSex": "F",
    "PatientAge": "087Y",
    "StudyDate": "20200102",
    "StudyTime": "030405",
    "StudyID": "S1",
    "AccessionNumber": "A-77",
    "ReferringPhysicianName": "Zuweiser^Dr",
    "PositionReferenceIndicator": "",
}
"""What a scanner writes beside the least that a scan needs."""


def scan_of(code: str = "LPS", tilt_deg: float = 0.0, *, seed: int = 0, **shape: Shape) -> Scan:
    affine = affine_of(code=code, tilt_deg=tilt_deg, **shape)
    return case_of(affine=affine, seed=seed, **shape)[0]


def labels_of(scan: Scan) -> np.ndarray:
    """A mask that the voxels alone decide: the same however a scan is stored."""
    return (scan.voxels > LIVER_FROM).astype(np.uint8) + (scan.voxels > TUMOR_FROM)


def found_in(scan: Scan, labels: np.ndarray | None = None) -> Segmentation:
    mask = Mask(np.asfortranarray(labels_of(scan) if labels is None else labels), scan.affine)
    return Segmentation(mask, measure(mask).to_json() | MODEL)


def received(folder: Path, scan: Scan, **tags: object) -> SeriesScan:
    """A scan that went through a hospital's files."""
    save_series(folder, scan, **CLINICAL | tags)
    (series,) = find_series(folder, tags.get("modality", "CT"))
    return series.read(for_dicom=True)


def answered(
    folder: Path, scan: Scan, labels: np.ndarray | None = None, **tags: object
) -> tuple[SeriesScan, Segmentation, Path, Path]:
    """A series, what was found in it, its DICOM SEG and its report."""
    got = received(folder / "in", scan, **tags)
    found = found_in(got, labels)
    target, report = folder / "out" / "x.dcm", folder / "out" / "x.sr.dcm"
    write_results(found, got, target, report=report)
    return got, found, target, report


def world_of_label(scan: Scan, label: int) -> np.ndarray:
    """LPS millimeters of the voxels that are at least ``label``, sorted."""
    index = np.argwhere(labels_of(scan) >= label)
    return in_order((LPS @ scan.affine @ np.c_[index, np.ones(len(index))].T)[:3].T)


def world_of_segment(path: Path, number: int) -> np.ndarray:
    """The same of a segment's pixels, by the bits and tags of the file alone."""
    found = pydicom.dcmread(path)
    shape = (found.NumberOfFrames, found.Rows, found.Columns)
    bits = np.unpackbits(np.frombuffer(found.PixelData, np.uint8), bitorder="little")
    frames = bits[: np.prod(shape)].reshape(shape)
    shared = found.SharedFunctionalGroupsSequence[0]
    across, down = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3))
    between_rows, between_columns = shared.PixelMeasuresSequence[0].PixelSpacing
    points = []
    for frame, group in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        # A single segment stands with what all frames share.
        own = group if "SegmentIdentificationSequence" in group else shared
        if own.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            row, column = np.nonzero(frame)
            corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
            points.append(
                corner
                + np.outer(column * between_columns, across)
                + np.outer(row * between_rows, down)
            )
    return in_order(np.concatenate(points))


def in_order(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points, 2).T)]


def said(tool: str, *paths: Path) -> list[str]:
    """The lines of one of the validators of Debian's dicom3tools."""
    if not shutil.which(tool):
        pytest.skip(f"needs {tool} (apt-get install dicom3tools)")
    done = subprocess.run(
        [tool, *map(str, paths)], capture_output=True, text=True, check=False, errors="replace"
    )
    return (done.stdout + done.stderr).splitlines()


def errors_in(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("Error", "Abort"))]
