"""Tiling and blending alone, against MONAI's, around a network that answers at once.

    python benchmarks/tiling.py

Both get the same volume, windows, overlap and batches, and the network is one array of answers
that is there already. Seconds are wall time, in turns in one process.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from rows import Row, conditions, ratios, write

from dyntransnet.imaging.tiling import Tiling, predict_tiled

SHAPE = (200, 180, 160)
PATCHES = ((64, 64, 64), (112, 112, 48), (96, 96, 96))


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def pair(patch: tuple[int, int, int]) -> tuple[Callable[[], object], Callable[[], object]]:
    """Ours and MONAI's, each as one call."""
    volume = np.random.default_rng(0).random(SHAPE, np.float32)
    tiling = Tiling(2, patch, 0.5, -1.0)
    answers = np.random.default_rng(1).random((tiling.windows_in_a_call, 2, *patch), np.float32)
    in_torch, seen = torch.from_numpy(answers), torch.from_numpy(volume)[None, None]

    def theirs() -> object:
        with torch.inference_mode():
            return sliding_window_inference(
                seen, patch, tiling.windows_in_a_call, lambda x: in_torch[: len(x)],
                overlap=0.5, mode="gaussian", cval=-1.0,
            )  # fmt: skip

    return lambda: predict_tiled(volume, lambda x: answers[: len(x)], tiling), theirs


def main() -> None:
    """Write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for patch in PATCHES:
        ours, theirs = pair(patch)
        ours(), theirs()
        taken = [(seconds(ours), seconds(theirs)) for _ in range(asked.repeats)]
        mine, other = zip(*taken, strict=True)
        edges = " x ".join(map(str, patch))
        rows.append(
            Row(f"windows of {edges}: MONAI's seconds over ours", ">= 3", ratios(other, mine))
        )
        rows.append(Row(f"windows of {edges}: our seconds", "", mine, 3))
    write(asked.out, "tiling", rows, conditions(volume=SHAPE, overlap=0.5))


if __name__ == "__main__":
    main()
