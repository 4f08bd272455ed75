"""A scan's mask with all that is said of it: the one answer, here and from a server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dyntransnet.contract import Contract
from dyntransnet.errors import ScanError
from dyntransnet.imaging.fingerprint import Fingerprint
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.quality import judge
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import (
    ProbabilityMap,
    Segmentation,
    mask_on_scan,
    probability_map,
)
from dyntransnet.imaging.tiling import Predict, Watch
from dyntransnet.memory import free_bytes

TUMOR = slice(1, 2)
"""Of the classes' channels."""

CERTAIN = 255
"""What 1 becomes in a map of bytes: from 128 on a voxel is at 0.5 or above."""


class Stopwatch:
    """Seconds that each phase of an answer took; a phase within a phase counts for itself."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of a block."""
        begun, outer, self._inner = time.perf_counter(), self._inner, 0.0
        try:
            yield
        finally:
            taken = time.perf_counter() - begun
            self.seconds[name] = self.seconds.get(name, 0.0) + taken - self._inner
            self._inner = outer + taken


def answer(
    scan: Scan,
    predict: Predict,
    contract: Contract,
    *,
    fingerprint: Fingerprint | None = None,
    probabilities: bool = False,
    watch: Watch | None = None,
    stopwatch: Stopwatch | None = None,
) -> Segmentation:
    """Label a scan, measure what was found and say how far to trust it.

    Args:
        scan: a scan of the contract's modality.
        predict: the network, windows to logits.
        contract: how the network wants its input and what its output means.
        fingerprint: of the dataset it learned from; without it some flags are not raised.
        probabilities: whether they are wanted, too.
        watch: told of every window.
        stopwatch: told of every phase: ``network``, ``grid``, ``mask``, ``report``.

    Raises:
        ScanError: the scan has no usable geometry, or does not fit in memory.
    """
    clock = stopwatch or Stopwatch()

    def timed(windows: np.ndarray) -> np.ndarray:
        with clock.phase("network"):
            return predict(windows)

    try:
        with clock.phase("grid"):
            found = probability_map(scan, timed, contract, watch)
        with clock.phase("mask"):
            mask = mask_on_scan(found.values, found.placement, scan, contract.threshold)
            bytes_ = probabilities_on_scan(found, scan) if probabilities else None
        with clock.phase("report"):
            quality = judge(
                scan, mask, found, threshold=contract.threshold, fingerprint=fingerprint
            )
            measured = measure(mask, lambda box: found.within(box, TUMOR))
            report = measured.to_json() | quality.model_dump(mode="json")
    except MemoryError as error:
        raise ScanError(f"{scan.id}: must fit in memory, got none left") from error
    return Segmentation(mask, report | _origin(contract), bytes_)


def probabilities_on_scan(found: ProbabilityMap, scan: Scan) -> UInt8[np.ndarray, "classes x y z"]:
    """Bring probabilities to the scan's grid, one byte each.

    Args:
        found: on the network's grid.
        scan: whose grid it is.

    Raises:
        ScanError: they do not fit in memory.
    """
    shape = (len(found.values), *scan.voxels.shape)
    if (needed := prod(shape)) > (free := free_bytes()):
        raise ScanError(
            f"{scan.id}: probabilities must fit in memory, got {free} bytes free and {needed} "
            "to take"
        )
    values = np.zeros(shape, np.uint8)
    for channel, scores in zip(values, found.values, strict=True):
        # What is less than half a step everywhere is 0.
        for box, near in found.placement.reached_by(scores, 0.5 / CERTAIN):
            channel[box] = np.rint(near.clip(0, 1) * CERTAIN)
    return values


def _origin(contract: Contract) -> dict[str, Any]:
    return {"network": contract.network.name, "model_sha256": contract.model_sha256}
