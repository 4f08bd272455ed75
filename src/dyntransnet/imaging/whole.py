"""Whether an image that was written is whole on disk.

ITK says nothing of a disk that is full: its writer of NIfTI never, that of NRRD not where only the
end is lost. What fitted is left.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

HEADER_BYTES = 352
"""Before the voxels of a NIfTI-1 file."""

CHUNK_BYTES = 2**20


def is_whole(path: Path, array: np.ndarray) -> bool:
    """Whether a file holds all of an image.

    Args:
        path: the file.
        array: (z, y, x), as SimpleITK was given it.
    """
    if path.name.endswith((".nii", ".nii.gz")):  # to read those as an image takes ten times as long
        return _content(path) == HEADER_BYTES + array.nbytes
    try:
        return np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), array)
    except RuntimeError:
        return False


def _content(path: Path) -> int:
    """Bytes of a file, or of what is compressed in it; 0 where that is not whole."""
    if not path.name.endswith(".gz"):
        return path.stat().st_size
    count = 0
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                count += len(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return 0
    return count
