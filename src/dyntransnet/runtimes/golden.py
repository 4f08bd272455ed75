"""A scan whose mask is known from the registry's own run, to try a server with.

The scan is a phantom: a registry is read by more people than a patient's scan should be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dyntransnet.contract import Contract, Label
from dyntransnet.errors import ModelError, ScanError
from dyntransnet.imaging.phantom.recipes import Recipe, make_phantom
from dyntransnet.imaging.scan import Mask, Scan, read_mask, read_scan, write_mask, write_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.imaging.tiling import Predict
from dyntransnet.runtimes.choice import load

FOLDER = "golden"
SCAN_FILE, MASK_FILE = "scan.nii.gz", "mask.nii.gz"
RUNTIME = "onnxruntime"
"""The reference among the runtimes, as for the gate."""

RECIPE = Recipe(
    number=0,
    patient="golden",
    seed=6,
    spacing_mm=(4.0, 4.0, 5.0),
    shape=(98, 84, 48),
    orientation="LPS",
    tumors=3,
)


@dataclass(frozen=True)
class Golden:
    """A scan and the mask that a model must give it.

    Attributes:
        scan: to be sent.
        mask: to come back.
    """

    scan: Scan
    mask: Mask


def make_golden(predict: Predict, contract: Contract) -> Golden:
    """Have a model segment the phantom."""
    phantom, _ = make_phantom(RECIPE)
    scan = Scan(FOLDER, phantom.voxels, phantom.affine)
    return Golden(scan, segment(scan, predict, contract))


def write_golden(model: Path, folder: Path) -> None:
    """Keep what a model folder's model says of the phantom.

    Args:
        model: what ``export`` wrote.
        folder: gets ``golden/``.
    """
    golden = make_golden(*load(model, RUNTIME))
    write_scan(golden.scan, folder / FOLDER / SCAN_FILE)
    write_mask(golden.mask, folder / FOLDER / MASK_FILE)


def read_golden(folder: Path) -> Golden | None:
    """What was kept with a model; None where nothing was.

    Raises:
        ModelError: the files are damaged.
    """
    kept = folder / FOLDER
    if not kept.is_dir():
        return None
    try:
        return Golden(read_scan(kept / SCAN_FILE, FOLDER), read_mask(kept / MASK_FILE, FOLDER))
    except ScanError as error:
        raise ModelError(f"{kept}: must hold a scan and its mask, got {error}") from error


def agreement(expected: np.ndarray, found: np.ndarray) -> Mapping[str, float]:
    """Dice of liver and tumor; 1 where both masks have none.

    Args:
        expected: labels (x, y, z).
        found: of the same shape.
    """
    return {
        label.name.lower(): _dice(expected >= label, found >= label)
        for label in (Label.LIVER, Label.TUMOR)
    }


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    size = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / size if size else 1.0
