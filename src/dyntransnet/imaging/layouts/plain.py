"""Scans and masks of no known dataset: two folders of equal names, or a folder for each case.

File names may hold a patient's name, so cases are called after the content of their scans.
"""

from pathlib import Path

from dyntransnet.contract import Modality
from dyntransnet.errors import DatasetError
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts.case import Case, content_id, file_case, is_image
from dyntransnet.imaging.scan import case_id_of

HOLDS = "images and masks with equal names, or CASE/scan.* with CASE/mask.*"
SCANS, MASKS = "images", "masks"
SCAN, MASK = "scan", "mask"

Files = dict[str, list[Path]]


def fits(source: Path) -> bool:
    """Whether both folders are there, or any folder with both files."""
    if (source / SCANS).is_dir() and (source / MASKS).is_dir():
        return True
    return bool(_of_cases(source, SCAN).keys() & _of_cases(source, MASK).keys())


def find(source: Path, modality: Modality, numbering: Numbering) -> list[Case]:
    """List the cases; each is a patient of its own.

    Raises:
        DatasetError: nothing is found, or scans and masks do not pair up.
    """
    if (source / SCANS).is_dir():
        scans, masks = _of_folder(source / SCANS), _of_folder(source / MASKS)
    else:
        scans, masks = _of_cases(source, SCAN), _of_cases(source, MASK)
    _check(source, scans, masks)
    return [
        file_case(paths[0], masks[name][0], modality, numbering, case=content_id(paths[0]))
        for name, paths in scans.items()
    ]


def _check(source: Path, scans: Files, masks: Files) -> None:
    """Make sure that each name has one scan and one mask; problems are counted, not named."""
    counts = {
        f"each {SCAN} must have a {MASK} of its name, got {{}} without": scans.keys()
        - masks.keys(),
        f"each {MASK} must have a {SCAN} of its name, got {{}} without": masks.keys()
        - scans.keys(),
        "each name must have one file, got {} with more": [
            name for files in (scans, masks) for name, paths in files.items() if len(paths) > 1
        ],
    }
    problems = [text.format(len(names)) for text, names in counts.items() if names]
    if not scans and not masks:
        problems = [f"must hold {HOLDS}, got none"]
    if problems:
        raise DatasetError(source.name, problems, code="layout")


def _of_folder(folder: Path) -> Files:
    """The images of a folder, by their names without format."""
    found: Files = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_image(path):
            found.setdefault(case_id_of(path), []).append(path)
    return found


def _of_cases(source: Path, name: str) -> Files:
    """The images of one name in each folder, by the folders' names."""
    folders = sorted(path for path in source.iterdir() if path.is_dir()) if source.is_dir() else []
    found = {folder.name: _of_folder(folder).get(name, []) for folder in folders}
    return {folder: paths for folder, paths in found.items() if paths}
