"""Training windows, cut from the memory-mapped cache.

Every window is drawn from (seed, batch, its place in the batch) alone, so that a resumed
run sees the batches of the uninterrupted one, and several processes those of a single one.
"""

from collections.abc import Callable, Iterator, Sequence
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

Shape = tuple[int, int, int]
Share = Callable[[Sequence[int]], Sequence[int]]


@dataclass(frozen=True)
class Batch:
    """Windows to learn from.

    Attributes:
        image: network input.
        label: 0, 1, 2 as floats.
        cases: where each was cut.
        patch_size: voxels of a window as the network is to see it; these are larger, to
            leave room for rotation.
        spacing_mm: of the grid.
        chances: where each window's further chance comes from.
    """

    image: Float32[Tensor, "n 1 x y z"]
    label: Float32[Tensor, "n 1 x y z"]
    cases: tuple[str, ...]
    patch_size: Shape
    spacing_mm: Spacing
    chances: tuple[torch.Generator, ...]


def batches(
    cases: Sequence[CachedCase],
    params: TrainParams,
    *,
    margin: Callable[[Shape], Shape],
    first: int,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    share: Share = tuple,
) -> Iterator[Batch]:
    """Endless batches, the next one cut while this one is used.

    Most are of ``params.patch_size``; ``params.wide_share`` of them show as much as
    inference will, ``params.tile``, in fewer windows.

    Args:
        cases: where windows come from.
        params: batch size, seed, and shares of tumor and liver windows.
        margin: patch to the window that is cut, with room for rotation.
        first: the number of the batch to start from.
        spacing_mm: of the cases' grid.
        share: all windows of a batch to those that are cut here.
    """
    make = partial(_batch, cases, params, margin, spacing_mm, share)
    with ThreadPoolExecutor(1) as pool:
        following: Future[Batch] = pool.submit(make, first)
        while True:
            ready, first = following.result(), first + 1
            following = pool.submit(make, first)
            yield ready


def _batch(
    cases: Sequence[CachedCase],
    params: TrainParams,
    margin: Callable[[Shape], Shape],
    spacing_mm: Spacing,
    share: Share,
    number: int,
) -> Batch:
    names, pairs, chances = [], [], []
    is_wide = np.random.default_rng([params.seed, number]).random() < params.wide_share
    patch_size = params.tile if is_wide else params.patch_size
    for place in share(range(params.wide_count if is_wide else params.batch_size)):
        rng = np.random.default_rng([params.seed, number, place])
        case = cases[rng.integers(len(cases))]
        names.append(case.id)
        image, label = cut(case, center_in(case, params, rng), patch_size, margin(patch_size))
        plant(image, label, params.augment.lesions, spacing_mm, rng)
        pairs.append((image, label))
        chances.append(torch.Generator().manual_seed(int(rng.integers(2**63))))
    images, labels = (
        torch.from_numpy(np.stack(arrays)[:, None].astype(np.float32))
        for arrays in zip(*pairs, strict=True)
    )
    return Batch(images, labels, tuple(names), patch_size, spacing_mm, tuple(chances))


def center_in(case: CachedCase, params: TrainParams, rng: np.random.Generator) -> np.ndarray:
    """Choose a window's center: on a tumor, in the liver, or anywhere."""
    chance = rng.random()
    if chance < params.tumor_share and len(case.tumor):
        return np.asarray(case.tumor[rng.integers(len(case.tumor))])
    if chance < params.tumor_share + params.liver_share and len(case.liver):
        return np.asarray(case.liver[rng.integers(len(case.liver))])
    return rng.integers(case.image.shape)
