"""Voxel values as the network sees them: a window for CT, a z-score for MRI, both in [-1, 1]."""

import numpy as np
from jaxtyping import Bool

from dyntransnet.contract import IntensityRule, IntensityWindow, IntensityZScore
from dyntransnet.imaging.geometry import Volume

AIR = -1.0
"""Value of everything below a CT window, and so of what surrounds a CT scan."""

BODY_SHARE = 0.05
"""How far above air a voxel of the body is, on the way to the brightest: MRI livers are dark."""

AIR_AND_BRIGHTEST = (1.0, 99.0)
"""Percentiles of a whole scan that stand for both; single voxels shall not count."""


def normalize(volume: Volume, rule: IntensityRule) -> Volume:
    """Bring voxel values to [-1, 1].

    Args:
        volume: a scan on the network's grid, with all of its field of view: the body that
            a z-score is taken of is found in it.
        rule: the contract's.
    """
    if isinstance(rule, IntensityWindow):
        scaled = (volume - rule.low_hu) * (2.0 / (rule.high_hu - rule.low_hu)) - 1.0
    else:
        scaled = _z_scores(volume, rule)
    return np.clip(scaled, -1.0, 1.0).astype(np.float32)


def padding_of(volume: Volume, rule: IntensityRule) -> float:
    """What surrounds a scan, as the rule shows it.

    Args:
        volume: what ``normalize`` gave.
        rule: the same rule.

    Returns:
        ``AIR`` under a window. Under a z-score the scan's own darkest value, which is
        that of the air in it.
    """
    return AIR if isinstance(rule, IntensityWindow) else float(volume.min())


def body_of(volume: Volume) -> Bool[np.ndarray, "_ _ _"]:
    """Where an MRI shows more than air; nowhere if all of it is alike."""
    air, brightest = np.percentile(volume, AIR_AND_BRIGHTEST)
    return np.asarray(volume > air + BODY_SHARE * (brightest - air))


def _z_scores(volume: Volume, rule: IntensityZScore) -> np.ndarray:
    """In units of ``rule.deviations`` standard deviations."""
    body = volume[body_of(volume)]
    if not body.size:
        return np.full(volume.shape, AIR)
    low, high = np.percentile(body, rule.percentiles)
    body = body.clip(low, high)
    deviation = body.std(dtype=np.float64) or 1.0  # a body of one value lies on its mean
    return (volume.clip(low, high) - body.mean(dtype=np.float64)) / (rule.deviations * deviation)
