"""Whether a probability means what it says: of the voxels called 0.8, are 80 % inside?

Counted within a box around the truth's liver, the same for every model: over a whole scan
air that is rightly called 0 would bring every error down to nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, fsum, isnan, nan

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import Mask, spacing_of
from dyntransnet.imaging.segment import ProbabilityMap
from dyntransnet.scoring.overlap import CLASSES, Box, box_of, check_one_grid
from dyntransnet.scoring.statistics import Resampling, pooled_intervals
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

    def rows(self) -> list[dict[str, float | int]]:
        """Each bin: its ends ``low`` and ``high``, its ``voxels``, and what they have in common.

        Returns:
            Also the mean ``probability`` of the voxels and the share that is ``inside``,
            NaN of no voxel.
        """
        edges = np.linspace(0, 1, len(self.voxels) + 1).tolist()
        shares = np.full((2, len(self.voxels)), nan)
        np.divide([self.called, self.inside], self.voxels, out=shares, where=self.voxels > 0)
        return [
            {"low": low, "high": high, "voxels": int(voxels),
             "probability": float(probability), "inside": float(inside)}
            for low, high, voxels, probability, inside in zip(
                edges[:-1], edges[1:], self.voxels, *shares, strict=True
            )
        ]  # fmt: skip


@dataclass(frozen=True)
class Calibration:
    """The probabilities of one class over all cases.

    Attributes:
        pooled: every voxel of every case.
        ece: its expected calibration error; None of no voxel.
        brier: its Brier score; None of no voxel.
        intervals: of both, by bootstrap over patients; None for few.
        cases: how many.
        patients: whose these are.
    """

    pooled: Reliability
    ece: float | None
    brier: float | None
    intervals: dict[str, tuple[float, float] | None]
    cases: int
    patients: int


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


def calibrate(found: ProbabilityMap, truth: Mask) -> dict[str, Reliability]:
    """Gather one scan's voxels around the truth's liver, a few slices at a time.

    Args:
        found: what the network says of the scan.
        truth: its mask.

    Returns:
        For "liver" (the whole of it) and "tumor".
    """
    box = region_of(truth.labels >= CLASSES["liver"], spacing_of(truth.affine))
    known = truth.labels[box]
    parts: dict[str, list[Reliability]] = {name: [] for name in CLASSES}
    for rows, channels in found.within(box):
        for (name, label), values in zip(CLASSES.items(), channels, strict=True):
            parts[name].append(reliability(values, known[:, :, rows] >= label))
    return {name: pool(slabs) for name, slabs in parts.items()}


def summarize_calibration(
    cases: Mapping[str, Reliability], patient_of: Mapping[str, str], how: Resampling
) -> Calibration:
    """Put the cases of one class together.

    Args:
        cases: case id to its voxels, at least one.
        patient_of: case id to patient.
        how: intervals are drawn.
    """
    patients = sorted({patient_of[case] for case in cases})
    pooled = pool([*cases.values()])
    sums = np.zeros((len(patients), len(pooled.voxels), len(_SUMS)))
    for case, one in cases.items():
        # One number of a whole case fills a column of its bins, to be read off any of them.
        columns = np.broadcast_arrays(one.voxels, one.inside, one.called, one.squared_error)
        sums[patients.index(patient_of[case])] += np.stack(columns, axis=-1)
    ends = pooled_intervals(sums, _errors_of, how)
    return Calibration(
        pooled=pooled,
        ece=None if isnan(pooled.ece) else pooled.ece,
        brier=None if isnan(pooled.brier) else pooled.brier,
        intervals=dict(zip(("ece", "brier"), ends, strict=True)),
        cases=len(cases),
        patients=len(patients),
    )


_SUMS = ("voxels", "inside", "called", "squared_error")


def _errors_of(sums: Float64[np.ndarray, "draws bins 4"]) -> Float64[np.ndarray, "draws 2"]:
    """ECE and Brier score of many draws at once."""
    voxels, inside, called, squared = np.moveaxis(sums, -1, 0)
    errors = np.stack([np.abs(called - inside).sum(axis=1), squared[:, 0]], axis=1)
    whole = voxels.sum(axis=1, keepdims=True)
    return np.divide(errors, whole, out=np.full(errors.shape, np.nan), where=whole > 0)
