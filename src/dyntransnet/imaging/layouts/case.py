"""A case of a dataset, and what the layouts share: pairing, and names that tell nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from dyntransnet.atomic import sha256_of
from dyntransnet.contract import Modality
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.scan import READABLE, Mask, Scan, read_mask, read_scan

CONTENT_DIGITS = 10
"""Of a SHA-256: enough that a million scans would share a name once."""

TURNED_TOLERANCE = 1e-2
"""How far a mask's axes may be from its scan's, in voxels a step."""


@dataclass(frozen=True)
class Case:
    """One scan with its mask, not yet read.

    Attributes:
        id: unique in the dataset; tells nothing of a patient.
        patient: equal for all scans of one person; the id of one of them.
        modality: what the scan is.
        load: reads or makes both; raises ScanError.
        origin: where the scan lies, for who asks on purpose; never stored or logged.
    """

    id: str
    patient: str
    modality: Modality
    load: Callable[[], tuple[Scan, Mask]] = field(repr=False)
    origin: Path = field(repr=False)


FindsCases = Callable[[Path, Modality, Numbering], list[Case]]
"""How a layout lists the cases of a source, from what it is said to show and to number.

It raises ScanError where scans and masks do not pair up.
"""


def is_image(path: Path) -> bool:
    """Whether a file's name says that it can be read; hidden ones and a Mac's shadows do not."""
    return path.name.lower().endswith(READABLE) and not path.name.startswith((".", "_"))


def content_id(path: Path) -> str:
    """A case's id where file names may hold a patient's: the SHA-256 of the scan's file."""
    return f"case-{sha256_of(path)[:CONTENT_DIGITS]}"


def file_case(
    scan: Path, mask: Path, modality: Modality, numbering: Numbering, *, case: str
) -> Case:
    """A case of two files, of which nothing but the voxels is known."""
    return Case(case, case, modality, partial(read_pair, scan, mask, numbering, case), scan)


def read_pair(scan: Path, mask: Path, numbering: Numbering, case: str) -> tuple[Scan, Mask]:
    """Read a scan and its mask, called by their case.

    Raises:
        ScanError: one cannot be used.
    """
    found = read_scan(scan, case)
    return found, turned_to(read_mask(mask, f"{case}, mask", numbering), found)


def refuse(problem: str, code: str) -> tuple[Scan, Mask]:
    """What ``load`` is for a case whose problem is known before it is read.

    Raises:
        ScanError: always.
    """
    raise ScanError(problem, code=code)


def check_paired(source: Path, scans: set[str], masks: set[str], scan: str, mask: str) -> None:
    """Make sure that each scan has a mask and each mask a scan.

    Args:
        source: the dataset.
        scans: their names or numbers.
        masks: likewise.
        scan: how a scan is called, ``{}`` for its name.
        mask: how a mask is called.

    Raises:
        DatasetError: some have none; all are listed.
    """
    names = [(scan, mask, scans - masks), (mask, scan, masks - scans)]
    problems = [
        f"{one.format(name)}: must have a {other.format(name)}, got none"
        for one, other, alone in names
        for name in alone
    ]
    if problems:
        raise DatasetError(source.name, sorted(problems), code="layout")


def turned_to(mask: Mask, scan: Scan) -> Mask:
    """Turn and flip a mask to its scan's axes, where it is the same grid stored another way.

    A mask on another grid comes back as it is.
    """
    if not np.isfinite(scan.affine).all() or not np.isfinite(mask.affine).all():
        return mask
    steps = np.linalg.pinv(scan.affine[:3, :3]) @ mask.affine[:3, :3]
    whole = np.rint(steps)
    if np.abs(steps - whole).max() > TURNED_TOLERANCE or not _is_turn(whole):
        return mask
    order = np.abs(whole).argmax(axis=1)
    labels, affine = mask.labels, mask.affine.copy()
    for axis in np.flatnonzero(whole.sum(axis=0) < 0):
        affine[:3, 3] += affine[:3, axis] * (labels.shape[axis] - 1)
        affine[:3, axis] *= -1
        labels = np.flip(labels, axis)
    affine[:3, :3] = affine[:3, order]
    return Mask(labels.transpose(order), affine)


def _is_turn(whole: np.ndarray) -> bool:
    """Each axis runs along one axis of the other grid, forwards or backwards."""
    return bool((np.abs(whole).sum(axis=0) == 1).all() and (np.abs(whole).sum(axis=1) == 1).all())
