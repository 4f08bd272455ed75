"""One 3D image from a file, by SimpleITK, once its header has shown that it can be one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from dyntransnet.errors import ScanError
from dyntransnet.imaging.limits import check_size
from dyntransnet.imaging.nifti import SUFFIXES, read_nifti


def read_image(path: Path, case: str, shown: str) -> tuple[np.ndarray, sitk.ImageFileReader]:
    """Read an image of any format.

    Args:
        path: the file.
        case: who, in messages.
        shown: what they call the file, whose own name may be a patient's.

    Returns:
        Its values (x, y, z), x fastest, and what answers for its place.

    Raises:
        ScanError: the file is missing, damaged, of another format, larger than any scan,
            or not one 3D image of real numbers.
    """
    with _told(path, case, shown):
        is_nifti = path.name.lower().endswith(SUFFIXES)
        found = read_nifti(path, case, shown) if is_nifti else None
        reader = _checked_reader(path, case)
        if found is None or found.shape != reader.GetSize():
            found = sitk.GetArrayFromImage(reader.Execute()).T
        return found, reader


def read_information(path: Path, case: str, shown: str) -> sitk.ImageFileReader:
    """Read of an image what comes before its voxels, and check nothing else.

    Args:
        path: the file.
        case: who, in messages.
        shown: what they call the file.

    Returns:
        What answers for size, spacing and type as the image itself would.

    Raises:
        ScanError: as ``read_image``, where the header shows it.
    """
    with _told(path, case, shown):
        return _checked_reader(path, case)


@contextmanager
def _told(path: Path, case: str, shown: str) -> Iterator[None]:
    """Turn what ITK and the system say of a file into one line."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else f"no {shown}"
        raise ScanError(f"{case}: file must exist, got {found}", code="file-missing")
    try:
        yield
    except RuntimeError as error:
        code = "affine-sheared" if "orthonormal" in str(error) else "unreadable"
        cause = cause_of(error).replace(str(path), shown)
        raise ScanError(f"{case}: {shown} must be a readable image, {cause}", code=code) from error
    except OSError as error:
        raise ScanError(
            f"{case}: {shown} must be readable, got {error.strerror}", code="unreadable"
        ) from error


def cause_of(error: RuntimeError) -> str:
    """The last line of an ITK message that says why; "Reason" holds a stale errno."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith("Reason: ")]
    return (
        "got " + lines[-1].split("): ")[-1].removeprefix("sitk::ERROR: ")
        if lines
        else "got an error"
    )


def _checked_reader(path: Path, case: str) -> sitk.ImageFileReader:
    """A reader that has seen the header and nothing else."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetDimension() != 3:
        raise ScanError(
            f"{case}: must be one 3D image, got {reader.GetDimension()}D {reader.GetSize()}",
            code="not-3d",
        )
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() != 1 or "vector" in kind or "complex" in kind:
        code = "voxels-complex" if "complex" in kind else "voxels-color"
        raise ScanError(f"{case}: voxels must be real numbers, got {kind}", code=code)
    check_size(reader.GetSize(), bytes_of(reader.GetPixelID()), case)
    return reader


def bytes_of(pixel_id: int) -> int:
    """What one value of a voxel takes."""
    return int(sitk.Image([1, 1, 1], pixel_id).GetSizeOfPixelComponent())
