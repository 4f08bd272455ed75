"""Voxel values as the network sees them."""

import numpy as np

from dyntransnet.contract import IntensityWindow
from dyntransnet.imaging.geometry import Volume

AIR = -1.0
"""Value of everything below the window, and so of padding."""


def normalize(volume: Volume, rule: IntensityWindow) -> Volume:
    """Clip Hounsfield units to the window and map it to [-1, 1]."""
    scaled = (volume - rule.low_hu) * (2.0 / (rule.high_hu - rule.low_hu)) - 1.0
    return np.clip(scaled, -1.0, 1.0).astype(np.float32)
