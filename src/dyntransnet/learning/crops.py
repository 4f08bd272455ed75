"""Training windows, cut from the memory-mapped cache.

Every window is drawn from (seed, batch, its place in the batch) alone, so that a resumed
run sees the batches of the uninterrupted one, and several processes those of a single one.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from dyntransnet.config import TrainParams
from dyntransnet.learning.cache import CachedCase, cut
from dyntransnet.learning.planting import Spacing, plant


@dataclass(frozen=True)
class Batch:
    """Windows to learn from.

    Attributes:
        image: network input.
        label: 0, 1, 2 as floats.
        cases: where each was cut.
        spacing_mm: of the grid.
        chances: where each window's further chance comes from.
    """

    image: Float32[Tensor, "n 1 x y z"]
    label: Float32[Tensor, "n 1 x y z"]
    cases: tuple[str, ...]
    spacing_mm: Spacing
    chances: tuple[torch.Generator, ...]


def batches(
    cases: Sequence[CachedCase],
    params: TrainParams,
    *,
    edge: tuple[int, int, int],
    first: int,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    places: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Endless batches, the next one cut while this one is used.

    Args:
        cases: where windows come from.
        params: batch size, seed, and shares of tumor and liver windows.
        edge: voxels of a window; larger than the patch, to leave room for rotation.
        first: the number of the batch to start from.
        spacing_mm: of the cases' grid.
        places: which windows of each batch are cut here; all of them if not given.
    """
    cut_here = range(params.batch_size) if places is None else places
    make = partial(_batch, cases, params, edge, spacing_mm, cut_here)
    with ThreadPoolExecutor(1) as pool:
        following: Future[Batch] = pool.submit(make, first)
        while True:
            ready, first = following.result(), first + 1
            following = pool.submit(make, first)
            yield ready


def _batch(
    cases: Sequence[CachedCase],
    params: TrainParams,
    edge: tuple[int, int, int],
    spacing_mm: Spacing,
    places: Sequence[int],
    number: int,
) -> Batch:
    names, pairs, chances = [], [], []
    for place in places:
        rng = np.random.default_rng([params.seed, number, place])
        case = cases[rng.integers(len(cases))]
        names.append(case.id)
        image, label = cut(case, center_in(case, params, rng), params.patch_size, edge)
        plant(image, label, params.augment.lesions, spacing_mm, rng)
        pairs.append((image, label))
        chances.append(torch.Generator().manual_seed(int(rng.integers(2**63))))
    images, labels = (
        torch.from_numpy(np.stack(arrays)[:, None].astype(np.float32))
        for arrays in zip(*pairs, strict=True)
    )
    return Batch(images, labels, tuple(names), spacing_mm, tuple(chances))


def center_in(case: CachedCase, params: TrainParams, rng: np.random.Generator) -> np.ndarray:
    """Choose a window's center: on a tumor, in the liver, or anywhere."""
    chance = rng.random()
    if chance < params.tumor_share and len(case.tumor):
        return np.asarray(case.tumor[rng.integers(len(case.tumor))])
    if chance < params.tumor_share + params.liver_share and len(case.liver):
        return np.asarray(case.liver[rng.integers(len(case.liver))])
    return rng.integers(case.image.shape)
