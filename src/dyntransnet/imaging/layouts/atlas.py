"""ATLAS: contrast-enhanced MRI, ``train/imagesTr/imN.nii.gz`` and ``train/labelsTr/lbN.nii.gz``.

``patient_info_train.json`` (scanner, sequence, contrast phase and date) is not read: the 60
scans are of 60 patients.
"""

from pathlib import Path

from dyntransnet.contract import Modality
from dyntransnet.errors import DatasetError
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts.case import Case, check_paired, file_case, is_image
from dyntransnet.imaging.scan import case_id_of

HOLDS = "train/imagesTr/imN.nii.gz and train/labelsTr/lbN.nii.gz"
SCANS, MASKS = "imagesTr", "labelsTr"


def fits(source: Path) -> bool:
    """Whether there are scans and masks of that name."""
    root = _root(source)
    return bool(_numbered(root / SCANS, "im") and _numbered(root / MASKS, "lb"))


def find(source: Path, _modality: Modality, numbering: Numbering) -> list[Case]:
    """List the cases; each is a patient of its own.

    Raises:
        DatasetError: nothing is found, or scans and masks do not pair up.
    """
    root = _root(source)
    scans, masks = _numbered(root / SCANS, "im"), _numbered(root / MASKS, "lb")
    if not scans and not masks:
        raise DatasetError(
            source.name, [f"{source.name}: must hold {HOLDS}, got none"], code="layout"
        )
    check_paired(source, {*scans}, {*masks}, "im{}", "lb{}")
    return [
        file_case(scans[n], masks[n], "MR", numbering, case=f"im{n}")
        for n in sorted(scans, key=int)
    ]


def _root(source: Path) -> Path:
    return source / "train" if (source / "train").is_dir() else source


def _numbered(folder: Path, prefix: str) -> dict[str, Path]:
    """Number to file, of the files that have one."""
    if not folder.is_dir():
        return {}
    names = {path: case_id_of(path) for path in sorted(folder.iterdir()) if is_image(path)}
    return {
        name.removeprefix(prefix): path
        for path, name in names.items()
        if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
    }
