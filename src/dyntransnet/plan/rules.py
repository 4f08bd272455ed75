"""What a dataset and a memory budget ask for: grid, intensity rule, patch, batch.

The rules are nnU-Net's: median spacing, the patch as large as memory allows at the least
batch, a coarser grid where that patch would see too little of a scan.

Source:
    Isensee et al., nnU-Net, Nature Methods 18, 2021, https://doi.org/10.1038/s41592-020-01008-z
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, floor, prod
from typing import TypeVar

import numpy as np

from dyntransnet.contract import IntensityRule, IntensityWindow, IntensityZScore, NetworkSpec
from dyntransnet.errors import ParamsError
from dyntransnet.imaging.fingerprint import Fingerprint
from dyntransnet.learning.cost import Precision, cost_of
from dyntransnet.learning.memory import BYTES_PER_PARAMETER
from dyntransnet.networks.registry import Triple, shown

Spacing = tuple[float, float, float]
Value = TypeVar("Value")
Bytes = Callable[[Triple, int], float]
"""What a training step of so many windows of a patch keeps in memory."""

USABLE = 0.55
"""Share of the memory that a step's weights and activations may take.

The rest is for what they are counted without: gradients on their way back, kernels'
workspace, the loss. Single steps of four networks took 1.2 to 1.7 times the activations
that were counted for them, on a CPU.
"""

MIN_BATCH = 2
"""Windows: one has a tumor for sure, and the other need not."""

BATCH_SHARE = 0.05
"""Most of a dataset's voxels in one batch: more would be the same ones over and over."""

ANISOTROPIC = 3.0
"""From this ratio of edges, and of voxels, a scan is a stack of thick slices."""

SEEN = 0.25
"""Least share of a median scan's voxels in one patch; below, the grid is made coarser."""

COARSER = 1.1
"""Factor of one step of that; nnU-Net's is 1.03, and counting costs seconds for each."""

ROUND_HU = 5

INTENSITY_REASONS = {
    "window": f"0.5 % and 99.5 % of the values inside livers, rounded outwards to {ROUND_HU}",
    "zscore": "MRI has no units: each scan by the mean and deviation of its own body",
}


@dataclass(frozen=True)
class Grid:
    """A median scan on a grid that the network could have.

    Attributes:
        spacing_mm: voxel edges.
        shape: voxels of the scan.
        reason: why this spacing.
    """

    spacing_mm: Spacing
    shape: Triple
    reason: str

    def coarser(self) -> "Grid":
        """With larger voxels; where they are flat or long, only their short edges grow."""
        longest = max(self.spacing_mm)
        is_uneven = 2 * min(self.spacing_mm) < longest
        grows = [2 * edge < longest or not is_uneven for edge in self.spacing_mm]
        spacing = [
            round(edge * COARSER, 3) if grow else edge
            for edge, grow in zip(self.spacing_mm, grows, strict=True)
        ]
        return resized(self, spacing, f"coarser, so that a patch sees {SEEN:.0%} of a scan")

    def seen(self, patch: Triple) -> float:
        """Share of the scan that a patch covers."""
        covered = prod(map(min, patch, self.shape))
        return covered / prod(self.shape)


@dataclass(frozen=True)
class Plan:
    """What was chosen.

    Attributes:
        grid: of the network.
        intensity: what values are brought to [-1, 1] by.
        patch_size: voxels.
        batch_size: windows.
        bytes_needed: by a step, as it is estimated.
    """

    grid: Grid
    intensity: IntensityRule
    patch_size: Triple
    batch_size: int
    bytes_needed: float

    def explained(self) -> list[tuple[str, object, str]]:
        """Each value's key in params.yaml, the value, and why it is that one."""
        spacing, rule = self.grid.spacing_mm, self.intensity
        span = " x ".join(
            f"{voxels * edge:.0f}" for voxels, edge in zip(self.patch_size, spacing, strict=True)
        )
        return [
            ("preprocess.spacing_mm", list(spacing), self.grid.reason),
            ("preprocess.intensity", rule.model_dump(mode="json"), INTENSITY_REASONS[rule.kind]),
            (
                "train.patch_size",
                list(self.patch_size),
                f"the largest of which {MIN_BATCH} fit: {span} mm, "
                f"{self.grid.seen(self.patch_size):.0%} of a median scan",
            ),
            (
                "train.batch_size",
                self.batch_size,
                f"{self.bytes_needed / 2**30:.1f} GiB of weights and activations, as counted, "
                f"within {USABLE:.0%} of the memory",
            ),
        ]


def training_bytes(spec: NetworkSpec, precision: Precision) -> Bytes:
    """What ``learning.memory`` asks for before a training; each step is counted once."""

    @cache
    def needed(patch: Triple, batch: int) -> float:
        cost = cost_of(spec, patch, batch=batch, precision=precision)
        return float(BYTES_PER_PARAMETER * cost.parameters + cost.activation_bytes)

    return needed


def propose(
    fingerprint: Fingerprint, multiples: Triple, *, memory_bytes: float, needed: Bytes
) -> Plan:
    """Choose grid, intensity rule, patch and batch.

    Args:
        fingerprint: of the dataset.
        multiples: what the patch's edges must be multiples of.
        memory_bytes: of the device that trains.
        needed: what a step takes of it; larger patches need more.

    Raises:
        ParamsError: no spacing can be trusted, or not even the least patch fits.
    """

    def fits(patch: Triple, batch: int = MIN_BATCH) -> bool:
        return needed(patch, batch) <= USABLE * memory_bytes

    grid = median_grid(fingerprint)
    sizes = patches(grid, multiples)
    if not fits(sizes[0]):
        raise ParamsError(
            f"--memory must hold {MIN_BATCH} windows of {sizes[0]} (multiples of "
            f"{shown(multiples)}), {needed(sizes[0], MIN_BATCH) / USABLE / 2**30:.1f} GiB, "
            f"got {memory_bytes / 2**30:.1f} GiB"
        )
    while not fits(_least_that_sees_enough(sizes, grid)):
        grid = grid.coarser()
        sizes = patches(grid, multiples)
    patch = _last(sizes, fits)
    most = ceil(BATCH_SHARE * fingerprint.cases * prod(grid.shape) / prod(patch))
    batches = range(MIN_BATCH, max(MIN_BATCH, most) + 1)
    batch = _last(batches, lambda windows: fits(patch, windows))
    return Plan(grid, intensity_of(fingerprint), patch, batch, needed(patch, batch))


def median_grid(fingerprint: Fingerprint) -> Grid:
    """The dataset's median scan, with thinner slices where they are thick in most.

    Raises:
        ParamsError: no spacing can be trusted.
    """
    if fingerprint.spacing_mm is None:
        raise ParamsError(
            f"plan: some case must have a spacing that can be trusted, got {fingerprint.cases} "
            "that have none"
        )
    x, y, z = (round(along.median, 3) for along in fingerprint.spacing_mm)
    i, j, k = (max(1, round(along.median)) for along in fingerprint.shape)
    grid = Grid((x, y, z), (i, j, k), "the median of all scans")
    worst = int(np.argmax(grid.spacing_mm))
    others = [axis for axis in range(3) if axis != worst]
    fine = max(grid.spacing_mm[axis] for axis in others)
    is_thick = grid.spacing_mm[worst] > ANISOTROPIC * fine
    is_short = ANISOTROPIC * grid.shape[worst] < min(grid.shape[axis] for axis in others)
    if not (is_thick and is_short):
        return grid
    spacing = list(grid.spacing_mm)
    spacing[worst] = round(max(fine, fingerprint.spacing_mm[worst].p10), 3)
    return resized(grid, spacing, "the median; across thick slices the thinnest tenth of them")


def resized(grid: Grid, spacing_mm: Sequence[float], reason: str) -> Grid:
    """The same scan on voxels of another size."""
    x, y, z = spacing_mm
    i, j, k = (
        max(1, round(voxels * before / after))
        for voxels, before, after in zip(grid.shape, grid.spacing_mm, spacing_mm, strict=True)
    )
    return replace(grid, spacing_mm=(x, y, z), shape=(i, j, k), reason=reason)


def patches(grid: Grid, multiples: Triple) -> list[Triple]:
    """Patches from the least to one that covers the scan, each holding the one before.

    The shortest edge in millimeters grows first, so that each is as much of a cube as the
    scan and the multiples allow. The least has two multiples along each edge: networks halve
    a patch until one voxel would be left of a single one.
    """
    full = [ceil(voxels / step) * step for voxels, step in zip(grid.shape, multiples, strict=True)]
    size = [2 * step for step in multiples]
    found = [(size[0], size[1], size[2])]
    while growing := [axis for axis in range(3) if size[axis] < full[axis]]:
        shortest = min(growing, key=lambda axis: size[axis] * grid.spacing_mm[axis])
        size[shortest] += multiples[shortest]
        found.append((size[0], size[1], size[2]))
    return found


def intensity_of(fingerprint: Fingerprint) -> IntensityRule:
    """For CT what values inside livers span, without the strays; for MRI a z-score."""
    if fingerprint.modality == "MR":
        return IntensityZScore(percentiles=(0.5, 99.5), deviations=3.0)
    low, high = fingerprint.foreground.p00_5, fingerprint.foreground.p99_5
    low_hu, high_hu = floor(low / ROUND_HU) * ROUND_HU, ceil(high / ROUND_HU) * ROUND_HU
    return IntensityWindow(low_hu=low_hu, high_hu=max(high_hu, low_hu + ROUND_HU))


def _least_that_sees_enough(sizes: Sequence[Triple], grid: Grid) -> Triple:
    return next(size for size in sizes if grid.seen(size) >= SEEN)


def _last(values: Sequence[Value], is_allowed: Callable[[Value], bool]) -> Value:
    """The last that is allowed of values of which the first are, found with few questions."""
    return values[bisect_right(values, False, key=lambda value: not is_allowed(value)) - 1]
