"""Bring every case to the grid the network sees, once, for fast training.

Writes per case ``image.npy`` (float16, network input), ``label.npy`` (uint8), ``air.npy``
(the value that surrounds the scan) and the indices of liver and tumor voxels that training
windows are centered on; arrays are read memory-mapped.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dyntransnet.atomic import new_folder
from dyntransnet.config import PreprocessParams
from dyntransnet.contract import Label
from dyntransnet.imaging.geometry import Placement
from dyntransnet.imaging.intensity import normalize, padding_of
from dyntransnet.imaging.scan import Mask, read_mask, read_scan

CENTERS_KEPT = 50_000
"""Voxels per class that windows may be centered on: plenty, and bounded."""


def run(cases: Path, out: Path, params: PreprocessParams) -> None:
    """Write the training cache.

    Args:
        cases: what ``ingest`` wrote.
        out: folder to write: a subfolder per case, and ``grid.json``.
        params: the network's grid and intensity rule.
    """
    folders = sorted(path for path in cases.iterdir() if path.is_dir())
    with new_folder(out) as folder:
        # Spawned, not forked: forking a process that has threads can hang.
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            list(pool.map(partial(_cache, out=folder, params=params), folders))
        (folder / "grid.json").write_text(params.model_dump_json(indent=1))
    print(f"preprocess: {len(folders)} cases at {' x '.join(map(str, params.spacing_mm))} mm")


def _cache(case: Path, out: Path, params: PreprocessParams) -> None:
    scan, mask = read_scan(case / "scan.nii.gz"), read_mask(case / "mask.nii.gz")
    placement = Placement.of(scan.voxels.shape, scan.affine, params.spacing_mm)
    image = normalize(placement.volume_of(scan.voxels), params.intensity)
    label = label_on_grid(mask, placement)
    folder = out / case.name
    folder.mkdir()
    np.save(folder / "image.npy", image.astype(np.float16))
    np.save(folder / "label.npy", label)
    np.save(folder / "air.npy", np.float16(padding_of(image, params.intensity)))
    for name, inside in (("liver", label > 0), ("tumor", label == Label.TUMOR)):
        np.save(folder / f"{name}.npy", _centers(inside))


def label_on_grid(mask: Mask, placement: Placement) -> UInt8[np.ndarray, "x y z"]:
    """Bring a mask to the network's grid: a voxel belongs to what fills half of it."""
    liver, tumor = (
        placement.volume_of((mask.labels >= label).astype(np.int16)) >= 0.5
        for label in (Label.LIVER, Label.TUMOR)
    )
    return liver * np.uint8(Label.LIVER) + (liver & tumor)


def _centers(inside: np.ndarray) -> np.ndarray:
    """Evenly chosen indices of a class, as (n, 3)."""
    found = np.argwhere(inside).astype(np.int16)
    return found[:: max(1, len(found) // CENTERS_KEPT)]
