"""Bring every case to the grid the network sees, once, for fast training.

Writes per case ``image.npy`` (float16, network input), ``label.npy`` (uint8), ``air.npy``
(the value that surrounds the scan) and the indices of liver and tumor voxels that training
windows are centered on; arrays are read memory-mapped.
"""

from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dyntransnet.atomic import new_folder
from dyntransnet.config import PreprocessParams
from dyntransnet.contract import Label
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.geometry import Placement
from dyntransnet.imaging.intensity import normalize, padding_of
from dyntransnet.imaging.scan import Mask, read_mask, read_outline, read_scan
from dyntransnet.memory import free_bytes
from dyntransnet.workers import in_threads, workers_for

CENTERS_KEPT = 50_000
"""Voxels per class that windows may be centered on: plenty, and bounded."""

SCAN_FILE, MASK_FILE = "scan.nii.gz", "mask.nii.gz"

GRID_BYTES = 24
"""Most that a voxel of the network's grid takes for a moment: six float32, in a z-score."""

FIXED_BYTES = 2**24
"""For any case, however small: pieces of files, matrices."""

SLAB_BYTES = 4
"""What a voxel of the scan takes beside itself and its copy, were all of it in one slab."""


def run(cases: Path, out: Path, params: PreprocessParams, *, workers: int | None = None) -> None:
    """Write the training cache.

    Args:
        cases: what ``ingest`` wrote.
        out: folder to write: a subfolder per case, and ``grid.json``.
        params: the network's grid and intensity rule.
        workers: how many cases at a time; None: as cores and memory allow. What is written
            is the same for any number.

    Raises:
        DatasetError: some cases cannot be read; all are listed.
        OutputError: the cache cannot be written.
    """
    needs = {case: bytes_needed(case, params) for case in sorted(cases.iterdir()) if case.is_dir()}
    workers = workers or workers_for([*needs.values()])
    taken, free = (count / 2**30 for count in (max(needs.values(), default=0), free_bytes()))
    print(
        f"preprocess: {workers} at a time; the largest takes {taken:.1f} GiB, {free:.1f} are free"
    )
    with new_folder(out) as folder:
        cache = partial(_problem_with, out=folder, params=params)
        # The longest first: none of them is left for the end, where others wait for it.
        problems = in_threads(cache, sorted(needs, key=lambda case: -needs[case]), workers)
        if found := sorted(filter(None, problems)):
            raise DatasetError(cases, found)
        (folder / "grid.json").write_text(params.model_dump_json(indent=1))
    print(f"preprocess: {len(needs)} cases at {' x '.join(map(str, params.spacing_mm))} mm")


def bytes_needed(case: Path, params: PreprocessParams) -> int:
    """Memory that a case takes, by its scan's header; 0 where it cannot be read."""
    try:
        scan = read_outline(case / SCAN_FILE, case.name)
    except ScanError:
        return 0  # reading it says why
    voxels = prod(scan.shape)
    shrunk = abs(np.linalg.det(scan.affine[:3, :3])) / prod(params.spacing_mm)
    return FIXED_BYTES + int(voxels * (2 * scan.voxel_bytes + SLAB_BYTES + shrunk * GRID_BYTES))


def _problem_with(case: Path, out: Path, params: PreprocessParams) -> str | None:
    """Cache a case, or say why it cannot be."""
    try:
        _cache(case, out / case.name, params)
    except ScanError as error:
        return str(error)
    except MemoryError:
        return f"{case.name}: must fit in memory, got none left"
    return None


def _cache(case: Path, folder: Path, params: PreprocessParams) -> None:
    folder.mkdir()
    placement = _cache_image(case, folder, params)
    label = label_on_grid(read_mask(case / MASK_FILE, f"{case.name}, mask"), placement)
    np.save(folder / "label.npy", label)
    for name, inside in (("liver", label > 0), ("tumor", label == Label.TUMOR)):
        np.save(folder / f"{name}.npy", _centers(inside))


def _cache_image(case: Path, folder: Path, params: PreprocessParams) -> Placement:
    """A function of its own, so that the scan is gone before the mask comes."""
    scan = read_scan(case / SCAN_FILE, case.name)
    placement = Placement.of(scan.voxels.shape, scan.affine, params.spacing_mm)
    image = normalize(placement.volume_of(scan.voxels), params.intensity)
    np.save(folder / "image.npy", image.astype(np.float16))
    np.save(folder / "air.npy", np.float16(padding_of(image, params.intensity)))
    return placement


def label_on_grid(mask: Mask, placement: Placement) -> UInt8[np.ndarray, "x y z"]:
    """Bring a mask to the network's grid: a voxel belongs to what fills half of it."""
    liver, tumor = (
        placement.half_filled_by(mask.labels >= label) for label in (Label.LIVER, Label.TUMOR)
    )
    return liver * np.uint8(Label.LIVER) + (liver & tumor)


def _centers(inside: np.ndarray) -> np.ndarray:
    """Evenly chosen indices of a class, as (n, 3)."""
    found = np.argwhere(inside).astype(np.int16)
    return found[:: max(1, len(found) // CENTERS_KEPT)]
