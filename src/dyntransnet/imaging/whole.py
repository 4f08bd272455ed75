"""Masks that are whole on disk, or an error.

ITK says nothing of a disk that is full: its writer of NIfTI never, that of NRRD not where only the
end is lost. What fitted is left.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from dyntransnet.atomic import new_file
from dyntransnet.errors import OutputError, ScanError
from dyntransnet.imaging.scan import Mask, read_mask, write_mask

HEADER_BYTES = 352
"""Before the voxels of a NIfTI-1 file."""

CHUNK_BYTES = 2**20


def write_whole_mask(mask: Mask, path: Path) -> None:
    """Write a mask as ``write_mask`` does, and look at what came of it.

    Raises:
        OutputError: the format or the place cannot be written to, or has no room.
    """
    with new_file(path) as partial:
        try:
            write_mask(mask, partial)
        except OutputError as error:
            raise OutputError(str(error).replace(str(partial), str(path))) from error
        if not _is_whole(partial, mask):
            raise OutputError(f"{path}: must be writable, got half a file: is the disk full?")


def _is_whole(path: Path, mask: Mask) -> bool:
    if path.name.endswith((".nii", ".nii.gz")):  # to read those as a mask takes ten times as long
        return _content(path) == HEADER_BYTES + mask.labels.nbytes
    try:
        return np.array_equal(read_mask(path).labels, mask.labels)
    except ScanError:
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
