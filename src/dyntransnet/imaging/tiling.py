"""A network that sees windows, run over a whole volume.

Windows overlap and are blended with a Gaussian, so that a voxel is decided by the
windows that see most around it. Rows of windows follow each other along z, and what no
later row reaches is finished: beside the result, memory grows with a window's depth, not
with the volume's.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, product
from math import prod

import numpy as np
from jaxtyping import Float32

from dyntransnet.imaging.geometry import Volume
from dyntransnet.imaging.windows import (
    Corner,
    Shape,
    gaussian_weight,
    pad_to,
    padded_shape,
    window_at,
    window_starts,
)

Windows = Float32[np.ndarray, "n 1 x y z"]
Scores = Float32[np.ndarray, "classes _ _ _"]
Predict = Callable[[np.ndarray], np.ndarray]
"""Windows in, logits out: the one seam through which every runtime is called.

The windows' memory is filled anew for the next call."""
Source = Callable[[slice], Volume]
"""Slices of the network's grid in, what the network sees of them out (x, y, slices)."""

Watch = Callable[[int, int], None]
"""Told after each window how many are done, and of how many."""

BATCH_SIZE = 4
BATCH_VOXELS = 2**20
"""Most windows in one call, and most voxels: a network's memory grows with both, and one window
of a million voxels keeps a device as busy as four."""


@dataclass(frozen=True)
class Tiling:
    """How windows lie, and what surrounds them.

    Attributes:
        classes: channels of the logits.
        patch_size: voxels of one window.
        overlap: share of a window's edge that neighbors share, in [0, 1).
        padding: what is no body: it surrounds a volume that is smaller than one window,
            and windows of nothing else are all answered alike.
        batch_size: most windows in one call; fewer where they are large.
    """

    classes: int
    patch_size: Shape
    overlap: float
    padding: float
    batch_size: int = BATCH_SIZE

    @property
    def windows_in_a_call(self) -> int:
        """How many are asked together."""
        return max(1, min(self.batch_size, BATCH_VOXELS // prod(self.patch_size)))


def predict_tiled(
    volume: Volume, predict: Predict, tiling: Tiling
) -> Float32[np.ndarray, "classes x y z"]:
    """Run a windowed network over a volume of any size.

    Args:
        volume: network input (x, y, z).
        predict: takes windows (n, 1, x, y, z) and gives logits (n, classes, x, y, z).
        tiling: how windows lie.

    Returns:
        Blended logits on the volume's grid.
    """
    x, y, z = volume.shape
    return predict_slices(lambda rows: volume[:, :, rows], (x, y, z), predict, tiling)


def predict_slices(
    source: Source,
    shape: Shape,
    predict: Predict,
    tiling: Tiling,
    decode: Callable[[Scores], Scores] | None = None,
    watch: Watch | None = None,
) -> Float32[np.ndarray, "classes x y z"]:
    """The same for a volume that is nowhere whole, and for more than logits.

    Args:
        source: gives each slice once, in order.
        shape: of the volume.
        predict: each window's logits must hang on that window alone.
        tiling: how windows lie.
        decode: what is made of the logits of some slices, each voxel by itself.
        watch: told of every window; what it raises ends the work.

    Returns:
        What ``decode`` made, on the volume's grid.
    """
    whole, inner = padded_shape(shape, tiling.patch_size)
    starts = window_starts(whole, tiling.patch_size, tiling.overlap)
    values = np.empty((tiling.classes, *whole), np.float32)
    answers = _answers(_cut(source, shape, starts, tiling), predict, tiling)
    if watch:
        answers = _watched(answers, prod(map(len, starts)), watch)
    for finished in _blend(answers, values, starts, tiling):
        if decode:
            finished[...] = decode(finished)
    return values[:, *inner]


def _watched(
    answers: Iterator[tuple[Corner, Scores]], count: int, watch: Watch
) -> Iterator[tuple[Corner, Scores]]:
    for done, answer in enumerate(answers, start=1):
        yield answer
        watch(done, count)


def _cut(
    source: Source, shape: Shape, starts: tuple[list[int], ...], tiling: Tiling
) -> Iterator[tuple[Corner, Volume]]:
    """Every window as a view, row by row."""
    depth, known, at = tiling.patch_size[2], 0, 0
    slab = np.empty((0, 0, 0), np.float32)
    for start in starts[2]:
        until = min(start + depth, shape[2])
        fresh = source(slice(known, until))
        # Only the first slices can be too few for a window.
        edges = (*tiling.patch_size[:2], depth if known == 0 else 1)
        fresh = pad_to(fresh, edges, tiling.padding)[0]
        slab = fresh if known == 0 else np.concatenate([slab[..., start - at :], fresh], axis=2)
        known, at = until, start
        for x, y in product(*starts[:2]):
            yield (x, y, start), slab[window_at((x, y, 0), tiling.patch_size)]


def _answers(
    windows: Iterator[tuple[Corner, Volume]], predict: Predict, tiling: Tiling
) -> Iterator[tuple[Corner, Scores]]:
    """What a network says of each window, asked in full batches; of air it is asked once."""
    batch = np.empty((tiling.windows_in_a_call, 1, *tiling.patch_size), np.float32)
    of_air: Scores | None = None
    waiting: list[tuple[Corner, Scores | None]] = []
    filled = 0
    for corner, window in windows:
        if is_air := _is_all(window, tiling.padding):
            if of_air is None:
                of_air = np.array(predict(np.array(window)[None, None])[0], np.float32)
        else:
            batch[filled, 0] = window
            filled += 1
        waiting.append((corner, of_air if is_air else None))
        if not filled:
            yield from _answered(waiting, ())
            waiting = []
        elif filled == len(batch):
            yield from _answered(waiting, predict(batch))
            waiting, filled = [], 0
    yield from _answered(waiting, predict(batch[:filled]) if filled else batch[:0])


def _answered(
    waiting: list[tuple[Corner, Scores | None]], scores: Iterable[Scores]
) -> Iterator[tuple[Corner, Scores]]:
    """Put answers in their places, in order."""
    fresh = iter(scores)
    for corner, known in waiting:
        yield corner, next(fresh) if known is None else known


def _is_all(window: Volume, value: float) -> bool:
    """Whether nothing else is in a window; mostly its middle tells."""
    x, y, z = (edge // 2 for edge in window.shape)
    return bool(window[x, y, z] == value and (window == value).all())


def _blend(
    answers: Iterator[tuple[Corner, Scores]],
    values: Float32[np.ndarray, "classes x y z"],
    starts: tuple[list[int], ...],
    tiling: Tiling,
) -> Iterator[Scores]:
    """Fill an array with weighted means; yields its slices that no later row reaches.

    The sums are as deep as one row, so that a plane of a window is one run of memory.
    """
    x, y, z = tiling.patch_size
    weight, weighted = gaussian_weight(tiling.patch_size), np.empty((y, z), np.float32)
    sums = np.zeros((tiling.classes + 1, *values.shape[1:3], z), np.float32)
    of_row = np.zeros_like(sums[-1])
    for left, top in product(*starts[:2]):
        of_row[left : left + x, top : top + y] += weight
    ends = [*starts[2][1:], values.shape[3]]
    rows = groupby(answers, key=lambda answer: answer[0][2])
    for (start, row), end in zip(rows, ends, strict=True):
        for (left, top, _), scores in row:
            for total, score in zip(sums[:-1], scores, strict=True):
                planes = total[left : left + x, top : top + y]
                for plane, seen, share in zip(planes, score, weight, strict=True):
                    np.add(plane, np.multiply(seen, share, out=weighted), out=plane)
        sums[-1] += of_row
        done = end - start
        finished = values[..., start:end]
        np.divide(sums[:-1, ..., :done], sums[-1, ..., :done], out=finished)
        yield finished
        sums[..., : z - done] = sums[..., done:]
        sums[..., z - done :] = 0
