"""Where the results of scans go, by what each scan is and by the output that was asked for."""

from collections.abc import Sequence
from pathlib import Path

from dyntransnet.atomic import check_writable
from dyntransnet.errors import OutputError
from dyntransnet.imaging.pacs.maker import load_highdicom
from dyntransnet.imaging.pacs.tree import Series
from dyntransnet.imaging.scan import WRITABLE, case_id_of, check_mask_path

DICOM = ".dcm"


def masks_for(inputs: Sequence[Path | Series], output: Path, *, names_a_file: bool) -> list[Path]:
    """Where each scan's mask goes.

    Args:
        inputs: image files and series.
        output: a file for one scan, or a folder.
        names_a_file: whether the one input is an image file that was named itself.

    Raises:
        OutputError: there are several scans, among them series, and the output is a file's name.
    """
    is_folder = output.is_dir() or not output.suffix
    if any(isinstance(one, Series) for one in inputs):
        names_a_file = output.name.lower().endswith((DICOM, *WRITABLE))
        if names_a_file and not is_folder and len(inputs) > 1:
            raise OutputError(
                f"{output}: must be a folder for {len(inputs)} scans, got the name of a file"
            )
    if names_a_file and not is_folder and len(inputs) == 1:
        return [output]
    return [output / _mask_name(one) for one in inputs]


def check_target(scan: Path | Series, mask: Path) -> None:
    """Make sure that a mask can be written in its format and place, over no scan.

    Raises:
        OutputError: it cannot, or highdicom is missing for a DICOM SEG.
    """
    if isinstance(scan, Series) and is_dicom(mask):
        load_highdicom()
    else:
        check_mask_path(mask)
    check_writable(mask)
    is_scan = scan.holds if isinstance(scan, Series) else scan.samefile
    if mask.exists() and is_scan(mask):
        raise OutputError(f"{mask}: must not be the scan itself, got the same file")


def id_of(scan: Path | Series) -> str:
    """What messages and results call a scan."""
    return scan.id if isinstance(scan, Series) else case_id_of(scan)


def is_dicom(mask: Path) -> bool:
    """Whether a result's name asks for DICOM."""
    return mask.suffix.lower() == DICOM


def _mask_name(scan: Path | Series) -> str:
    """A mask is written as NIfTI where the scan's format cannot be one file."""
    if isinstance(scan, Series):
        return f"{scan.id}{DICOM}"
    return f"{case_id_of(scan)}.nii.gz" if scan.suffix.lower() == ".mhd" else scan.name


def beside(mask: Path, suffix: str) -> Path:
    """A mask's path with another suffix."""
    return mask.with_name((mask.stem if is_dicom(mask) else case_id_of(mask)) + suffix)
