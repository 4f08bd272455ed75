"""How long exported models take for a scan, compared in one run on one machine."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import segment
from dyntransnet.runtimes.choice import load

RUNTIME = "onnxruntime"
"""The reference among the runtimes that need no torch."""

FIELD_MM = (300.0, 240.0, 200.0)
"""What is segmented: about the field of view of an upper abdomen, of noise."""

SPACING_MM = (2.0, 2.0, 2.5)
ROUNDS = 3
"""The best of a few in turns: other work on a machine only ever adds time."""


def slowdown(baseline: Path, candidate: Path) -> float:
    """Seconds that one model takes for a scan over those of another, in ``RUNTIME``."""
    before_s, after_s = seconds_per_scan([baseline, candidate], RUNTIME)
    return after_s / before_s


def seconds_per_scan(models: Sequence[Path], runtime: str) -> list[float]:
    """Seconds from a scan to its mask, for each of several models.

    Args:
        models: folders that ``export`` or ``publish`` wrote.
        runtime: a key of ``RUNTIMES``, the same for all.

    Returns:
        For each the fastest of ``ROUNDS`` that all took in turns. A model with smaller
        windows or a finer grid takes more windows, which is part of its time.

    Raises:
        ModelError: a folder is incomplete or damaged.
    """
    loaded = [load(folder, runtime) for folder in models]
    scan = _noise()
    taken = np.full((ROUNDS, len(loaded)), np.inf)
    for turn in range(ROUNDS):
        for index, (predict, contract) in enumerate(loaded):
            begun_s = time.perf_counter()
            segment(scan, predict, contract)
            taken[turn, index] = time.perf_counter() - begun_s
    return [float(seconds) for seconds in taken.min(axis=0)]


def _noise() -> Scan:
    shape = [round(edge / step) for edge, step in zip(FIELD_MM, SPACING_MM, strict=True)]
    hu = np.random.default_rng(0).normal(50, 60, shape)
    return Scan("noise", hu.astype(np.int16), np.diag([*SPACING_MM, 1.0]))
