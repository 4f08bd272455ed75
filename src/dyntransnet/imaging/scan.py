"""Scans and masks, and the file formats they come in.

SimpleITK reads and writes; its [z, y, x] arrays and LPS world end here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float32, Float64, Int16, UInt8

from dyntransnet.atomic import new_file
from dyntransnet.errors import OutputError, ScanError
from dyntransnet.imaging.images import bytes_of, cause_of, read_image, read_information
from dyntransnet.imaging.labels import OURS, Numbering, to_labels
from dyntransnet.imaging.whole import is_whole

READABLE = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
WRITABLE = (".nii", ".nii.gz", ".nrrd", ".mha")

Voxels = Int16[np.ndarray, "x y z"] | Float32[np.ndarray, "x y z"]
Affine = Float64[np.ndarray, "4 4"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Scan:
    """A CT or MR image on its own grid.

    Attributes:
        id: name used in messages and reports.
        voxels: (x, y, z); Hounsfield units for CT.
        affine: voxel index to RAS+ millimeters.
    """

    id: str
    voxels: Voxels
    affine: Affine


@dataclass(frozen=True)
class Mask:
    """Labels 0 background, 1 liver, 2 tumor on a scan's grid.

    Attributes:
        labels: (x, y, z).
        affine: voxel index to RAS+ millimeters.
    """

    labels: UInt8[np.ndarray, "x y z"]
    affine: Affine

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in milliliters."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0


@dataclass(frozen=True)
class Outline:
    """A scan before its voxels are read.

    Attributes:
        shape: voxels along each axis.
        affine: voxel index to RAS+ millimeters.
        voxel_bytes: what each takes in the file.
    """

    shape: tuple[int, ...]
    affine: Affine
    voxel_bytes: int


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Voxel edge lengths in millimeters, in index order."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def case_id_of(path: Path) -> str:
    """A file's name without its format suffix."""
    return path.name.removesuffix(suffix_of(path, READABLE))


def suffix_of(path: Path, allowed: tuple[str, ...]) -> str:
    """The format suffix of a file name.

    Raises:
        ScanError: it is none of ``allowed``.
    """
    for suffix in sorted(allowed, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return path.name[-len(suffix) :]
    raise ScanError(
        f"{path.name}: extension must be one of {', '.join(allowed)}, got {path.name}",
        code="unreadable",
    )


def read_scan(path: Path, case: str | None = None) -> Scan:
    """Read a scan from NIfTI, NRRD or MetaImage.

    Args:
        path: the file.
        case: what messages call it; None: by its own name.

    Returns:
        int16 voxels where the file's integers fit, else float32.

    Raises:
        ScanError: the file is missing, damaged, of another format, not one 3D
            image of real numbers, or holds NaN or infinite voxels.
    """
    case = case or case_id_of(path)
    array, affine = _read(path, case)
    return Scan(case, to_voxels(array, case), affine)


def read_mask(path: Path, case: str | None = None, numbering: Numbering = OURS) -> Mask:
    """Read a mask.

    Args:
        path: the file.
        case: what messages call it; None: by its own name.
        numbering: which of its values are liver and tumor.

    Raises:
        ScanError: as ``read_scan``, or a value is found that is to be refused.
    """
    case = case or case_id_of(path)
    array, affine = _read(path, case)
    check_finite(array, case)
    return Mask(to_labels(array, numbering, case), affine)


def read_outline(path: Path, case: str | None = None) -> Outline:
    """Read what a scan's header says of it, without its voxels.

    Raises:
        ScanError: as ``read_scan``, where the header shows it.
    """
    case = case or case_id_of(path)
    header = read_information(path, case, case + suffix_of(path, READABLE))
    return Outline(header.GetSize(), _affine_of(header), bytes_of(header.GetPixelID()))


def to_voxels(array: np.ndarray, case: str) -> Voxels:
    """Integers that fit as int16, whatever else as float32.

    Raises:
        ScanError: some are NaN or infinite.
    """
    if np.issubdtype(array.dtype, np.integer) and _fits_int16(array):
        return array.astype(np.int16, copy=False)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        voxels = array.astype(np.float32, copy=False)
    check_finite(voxels, case)
    return voxels


def write_scan(scan: Scan, path: Path) -> None:
    """Write a scan; the suffix chooses the format.

    Raises:
        OutputError: the format or the place cannot be written to, or has no room.
    """
    _write(scan.voxels, scan.affine, path)


def write_mask(mask: Mask, path: Path) -> None:
    """Write a mask as unsigned bytes; the suffix chooses the format.

    Raises:
        OutputError: the format or the place cannot be written to, or has no room.
    """
    _write(mask.labels, mask.affine, path)


def check_mask_path(path: Path) -> None:
    """Make sure that a mask can be written in the format the name asks for.

    Raises:
        OutputError: the suffix is not one that can be written.
    """
    try:
        suffix_of(path, WRITABLE)
    except ScanError as error:
        raise OutputError(str(error)) from error


def _read(path: Path, case: str) -> tuple[np.ndarray, Affine]:
    # A file's own name may be a patient's: messages call it by its case.
    array, image = read_image(path, case, case + suffix_of(path, READABLE))
    return array, _affine_of(image)


def check_finite(values: np.ndarray, case: str) -> None:
    """Make sure that no value is NaN or infinite.

    Raises:
        ScanError: some are.
    """
    if bad := values.size - int(np.isfinite(values).sum()):
        raise ScanError(
            f"{case}: voxels must be finite, got {bad} NaN or infinite", code="not-finite"
        )


def _fits_int16(array: np.ndarray) -> bool:
    if np.can_cast(array.dtype, np.int16):
        return True
    limits = np.iinfo(np.int16)
    return bool(array.min() >= limits.min and array.max() <= limits.max)


def _affine_of(image: Any) -> Affine:
    """Of an image, or of the reader that has seen its header."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine


def _write(array: np.ndarray, affine: Affine, path: Path) -> None:
    check_mask_path(path)
    turned = np.ascontiguousarray(array.T)
    image = sitk.GetImageFromArray(turned)
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    compress = not path.name.lower().endswith(".nii")
    with new_file(path) as partial:
        try:
            sitk.WriteImage(image, str(partial), useCompression=compress)
        except RuntimeError as error:
            raise OutputError(f"{path}: must be writable, {cause_of(error)}") from error
        if not is_whole(partial, turned):
            raise OutputError(f"{path}: must be writable, got half a file: is the disk full?")
