"""Whether a probability means what it says: of the voxels called 0.8, are 80 % inside?

Counted within a box around the truth's liver, the same for every model: over a whole scan
air that is rightly called 0 would bring every error down to nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, fsum, nan

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from dyntransnet.errors import ScanError
from dyntransnet.scoring.overlap import Box, box_of, check_one_grid
from dyntransnet.scoring.surfels import SpacingMm

BINS = 15
"""As in Guo et al.; each is as wide as the others."""

MARGIN_MM = 20.0


@dataclass(frozen=True)
class Reliability:
    """Voxels gathered by their probability; several scans add up.

    Attributes:
        voxels: in each bin.
        inside: of these, in the truth.
        called: sum of their probabilities.
        squared_error: sum of (probability - truth)^2 over all voxels.
    """

    voxels: Int64[np.ndarray, " bins"]
    inside: Int64[np.ndarray, " bins"]
    called: Float64[np.ndarray, " bins"]
    squared_error: float

    @property
    def n(self) -> int:
        """Voxels that were counted."""
        return int(self.voxels.sum())

    @property
    def ece(self) -> float:
        """Expected calibration error in [0, 1]; NaN of no voxel.

        Source:
            Guo et al., ICML 2017, https://arxiv.org/abs/1706.04599; here of the
            probability to be inside, not of the larger of both classes.
        """
        return float(np.abs(self.called - self.inside).sum() / self.n) if self.n else nan

    @property
    def brier(self) -> float:
        """Mean squared error of the probability, in [0, 1]; NaN of no voxel.

        Source:
            Brier, Mon Weather Rev 78(1), 1950
        """
        return self.squared_error / self.n if self.n else nan


def reliability(
    probabilities: Float[np.ndarray, "_ _ _"],
    truth: Bool[np.ndarray, "_ _ _"],
    *,
    bins: int = BINS,
) -> Reliability:
    """Gather the voxels of a probability map.

    Args:
        probabilities: to be inside one class, in [0, 1].
        truth: what is inside, on the same grid.
        bins: of equal width; a border belongs to the bin above it, 1 to the last.

    Raises:
        ScanError: the grids differ, or a value is no probability.
    """
    check_one_grid(truth, probabilities)
    flat = probabilities.ravel().astype(np.float64)
    if not ((flat >= 0) & (flat <= 1)).all():
        raise ScanError(f"probabilities must lie in [0, 1], got {flat.min():g} to {flat.max():g}")
    known = truth.ravel()
    number = np.minimum((flat * bins).astype(np.int64), bins - 1)
    return Reliability(
        voxels=np.bincount(number, minlength=bins),
        inside=np.bincount(number[known], minlength=bins),
        called=np.bincount(number, weights=flat, minlength=bins).astype(np.float64),
        squared_error=float(np.square(flat - known).sum()),
    )


def pool(parts: Sequence[Reliability]) -> Reliability:
    """Several scans as one: every voxel counts alike.

    Args:
        parts: of as many bins each, at least one.
    """
    return Reliability(
        voxels=np.sum([part.voxels for part in parts], axis=0),
        inside=np.sum([part.inside for part in parts], axis=0),
        called=np.sum([part.called for part in parts], axis=0),
        squared_error=fsum(part.squared_error for part in parts),
    )


def region_of(
    liver: Bool[np.ndarray, "_ _ _"], spacing_mm: SpacingMm, *, margin_mm: float = MARGIN_MM
) -> Box:
    """Where calibration is counted: the box of the truth's liver and what is near it.

    Args:
        liver: the whole liver, tumors included.
        spacing_mm: voxel edges, in the order of the array's axes.
        margin_mm: added on each side, within the scan.

    Returns:
        The whole scan where there is no liver.
    """
    if not liver.any():
        x, y, z = (slice(0, edge) for edge in liver.shape)
        return x, y, z
    x, y, z = (
        slice(max(0, span.start - more), min(edge, span.stop + more))
        for span, edge, more in zip(
            box_of(liver), liver.shape, (ceil(margin_mm / step) for step in spacing_mm), strict=True
        )
    )
    return x, y, z
