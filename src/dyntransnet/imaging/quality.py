"""Reasons to look twice at a mask, found without knowing the truth.

A flag says that something is unlike what the model was trained and tested on. None of them
says that a mask is wrong, and a mask without a flag may be.
"""

from enum import StrEnum

import numpy as np
from pydantic import BaseModel, ConfigDict

from dyntransnet.imaging.fingerprint import SAMPLES, Fingerprint
from dyntransnet.imaging.geometry import orientation_of
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.imaging.segment import ProbabilityMap

FEW_SLICES = 0.5
"""Share of the shortest training scan's slices. Half of them, and a part of the abdomen is missing
or slices are twice as thick as any that was seen."""

UNSURE_BITS = 0.2
"""Mean entropy of the liver's probability in it. Models of this project lie at 0.06 to 0.11 on
phantoms that they were not trained on, nearly all of it at the surface; docs/decisions/0028."""


class Flag(StrEnum):
    """What was noticed."""

    NO_LIVER = "no_liver"
    LIVER_AT_BORDER = "liver_at_border"
    FEW_SLICES = "few_slices"
    ODD_INTENSITY = "odd_intensity"
    LOW_CONFIDENCE = "low_confidence"


MEANING = {
    Flag.NO_LIVER: "no voxel was labeled liver",
    Flag.LIVER_AT_BORDER: "the liver reaches the first or last voxels along an axis: it may be cut",
    Flag.FEW_SLICES: "fewer than half the slices of the shortest training scan",
    Flag.ODD_INTENSITY: "the liver's median value lies outside the middle 99 % of liver voxels "
    "in training",
    Flag.LOW_CONFIDENCE: "the liver's probabilities are nearer to a half than usual",
}
"""Flag to what it says, for documents and user interfaces."""


class Quality(BaseModel):
    """What a report says of itself.

    Attributes:
        flags: what was noticed.
        unchecked: flags that could not be raised: the model has no fingerprint, the liver's
            values are of an MRI and have no unit, or there is no liver.
        liver_entropy: mean binary entropy of the liver's probability in it, in bits; None
            without a liver.
        liver_median: median value of the scan in the liver (CT: HU); None without a liver.
    """

    model_config = ConfigDict(frozen=True)

    flags: tuple[Flag, ...]
    unchecked: tuple[Flag, ...]
    liver_entropy: float | None
    liver_median: float | None


def judge(
    scan: Scan,
    mask: Mask,
    found: ProbabilityMap,
    *,
    threshold: float,
    fingerprint: Fingerprint | None,
) -> Quality:
    """Look for reasons to look twice.

    Args:
        scan: what was segmented.
        mask: what was found.
        found: the probabilities it was found from.
        threshold: from which of them on there is liver.
        fingerprint: of the training's dataset, if it is known.
    """
    entropy = liver_entropy(found, threshold)
    median = _median(scan, mask)
    claims = {
        Flag.NO_LIVER: median is None,
        Flag.LIVER_AT_BORDER: touches_border(mask),
        Flag.FEW_SLICES: fingerprint and _slices(scan) < FEW_SLICES * fingerprint.shape[2].low,
        Flag.ODD_INTENSITY: _is_odd(median, fingerprint),
        Flag.LOW_CONFIDENCE: None if entropy is None else entropy > UNSURE_BITS,
    }
    return Quality(
        flags=tuple(flag for flag, claim in claims.items() if claim),
        unchecked=tuple(flag for flag, claim in claims.items() if claim is None),
        liver_entropy=entropy,
        liver_median=median,
    )


def liver_entropy(found: ProbabilityMap, threshold: float) -> float | None:
    """Mean binary entropy of the liver's probability in it, in bits; None where there is none."""
    liver = found.values[0]
    inside = liver[liver >= threshold].astype(np.float64)
    if not inside.size:
        return None
    # 0 log 0 is 0; logarithms of 0 are not taken.
    surely = np.clip(inside, 1e-9, 1 - 1e-9)
    bits = -(surely * np.log2(surely) + (1 - surely) * np.log2(1 - surely))
    return float(bits.mean())


def touches_border(mask: Mask) -> bool:
    """Whether anything is labeled in the outermost voxels along any axis."""
    labels = mask.labels
    return any(bool(np.take(labels, place, axis).any()) for axis in range(3) for place in (0, -1))


def _slices(scan: Scan) -> int:
    """Voxels along the axis nearest to the patient's."""
    order, _ = orientation_of(scan.affine)
    return int(scan.voxels.shape[order[2]])


def _median(scan: Scan, mask: Mask) -> float | None:
    """Of the scan's values in the liver; a sample of them is enough."""
    inside = scan.voxels[mask.labels > 0]
    return float(np.median(inside[:: -(-len(inside) // SAMPLES)])) if inside.size else None


def _is_odd(median: float | None, fingerprint: Fingerprint | None) -> bool | None:
    """Whether a liver's values are unlike training's; None where that cannot be told."""
    if median is None or fingerprint is None or fingerprint.modality != "CT":
        return None
    return not fingerprint.foreground.p00_5 <= median <= fingerprint.foreground.p99_5
