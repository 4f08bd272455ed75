"""What a path given by a person holds: image files, or DICOM series."""

import zipfile
from pathlib import Path

from dyntransnet.contract import Modality
from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.files import is_dicom
from dyntransnet.imaging.folders import images_in
from dyntransnet.imaging.pacs.tree import Series, find_series
from dyntransnet.imaging.scan import READABLE

ZIP = ".zip"


def inputs_in(path: Path, modality: Modality) -> list[Path | Series]:
    """The scans that a path names.

    Args:
        path: an image file or a folder of them, or a folder or zip with DICOM series.
        modality: of the series.

    Returns:
        Image files in order of name, or series; empty where a folder has neither.

    Raises:
        ScanError: there is nothing, a file of another format, or both kinds in one folder.
    """
    if path.is_file():
        return [*_of_file(path, modality)]
    images = images_in(path)
    if not any(is_dicom(file) for file in path.rglob("*") if file.is_file()):
        return [*images]
    if images:
        raise ScanError(
            f"{path}: must hold image files or DICOM series, got both: name the files, or give "
            "the series a folder of its own"
        )
    return [*find_series(path, modality)]


def _of_file(path: Path, modality: Modality) -> list[Path] | list[Series]:
    if path.name.lower().endswith(READABLE):
        return [path]
    if path.suffix.lower() == ZIP or zipfile.is_zipfile(path):
        return find_series(path, modality)
    if is_dicom(path):
        raise ScanError(
            f"{path}: a DICOM series must be given as its folder or as a zip, got one file of it"
        )
    return images_in(path)
