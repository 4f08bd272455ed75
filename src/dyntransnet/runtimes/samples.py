"""Real windows of the cache, to compare runtimes on and to take ranges from."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dyntransnet.contract import Contract
from dyntransnet.errors import InputError
from dyntransnet.imaging.tiling import Windows
from dyntransnet.learning.cache import CachedCase, cut


def liver_windows(cache: Path, contract: Contract, count: int) -> Windows:
    """Windows around tumors and livers of as many cases, evenly chosen."""
    chosen = _evenly(_cases(cache), count)
    return _windows(chosen, [_middle_of_lesion(case) for case in chosen], contract)


def typical_windows(cache: Path, splits: Path, contract: Contract, count: int) -> Windows:
    """Windows of cases that are not tested, every other one anywhere in the scan.

    Raises:
        InputError: every case is tested.
    """
    tested = json.loads(splits.read_text())["test"]
    cases = [case for case in _cases(cache) if case.id not in tested]
    if not cases:
        raise InputError(f"{splits}: must leave a case to take ranges from, got all in test")
    chosen, rng = _evenly(cases, count), np.random.default_rng(0)
    centers = [
        rng.integers(case.image.shape) if index % 2 else _middle_of_lesion(case)
        for index, case in enumerate(chosen)
    ]
    return _windows(chosen, centers, contract)


def _cases(cache: Path) -> list[CachedCase]:
    return [CachedCase.open(path) for path in sorted(cache.iterdir()) if path.is_dir()]


def _evenly(cases: Sequence[CachedCase], count: int) -> list[CachedCase]:
    return [cases[index * len(cases) // count] for index in range(count)]


def _middle_of_lesion(case: CachedCase) -> np.ndarray:
    """A voxel of the tumor, else of the liver, else a corner."""
    found = next((voxels for voxels in (case.tumor, case.liver) if len(voxels)), None)
    return np.zeros(3, int) if found is None else np.asarray(found[len(found) // 2])


def _windows(
    cases: Sequence[CachedCase], centers: Sequence[np.ndarray], contract: Contract
) -> Windows:
    cuts = [
        cut(case, center, contract.patch_size)[0]
        for case, center in zip(cases, centers, strict=True)
    ]
    return np.stack(cuts)[:, None].astype(np.float32)
