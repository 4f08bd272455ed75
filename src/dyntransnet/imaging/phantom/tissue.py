"""Hounsfield units of each tissue in the portal venous phase, drawn per patient."""

from enum import StrEnum, auto

import numpy as np


class Tissue(StrEnum):
    """What a phantom is made of."""

    SKIN = auto()
    FAT = auto()
    MUSCLE = auto()
    LUNG = auto()
    CORTICAL_BONE = auto()
    MARROW = auto()
    CARTILAGE = auto()
    DISC = auto()
    CANAL = auto()
    LIVER = auto()
    HEPATIC_VESSEL = auto()
    BILE = auto()
    SPLEEN = auto()
    KIDNEY_CORTEX = auto()
    KIDNEY_MEDULLA = auto()
    PANCREAS = auto()
    ARTERY = auto()
    VEIN = auto()
    MYOCARDIUM = auto()
    BOWEL_WALL = auto()
    FLUID = auto()
    GAS = auto()
    CONTRAST = auto()


AIR_HU = -1000.0
COUCH_HU = 80.0
FOAM_HU = -930.0

RANGE_HU: dict[Tissue, tuple[float, float]] = {
    Tissue.SKIN: (0, 40),
    Tissue.FAT: (-112, -92),
    Tissue.MUSCLE: (54, 72),
    Tissue.LUNG: (-880, -810),
    Tissue.CORTICAL_BONE: (420, 700),
    Tissue.MARROW: (110, 210),
    Tissue.CARTILAGE: (85, 130),
    Tissue.DISC: (70, 105),
    Tissue.CANAL: (25, 45),
    Tissue.LIVER: (92, 128),
    Tissue.BILE: (0, 20),
    Tissue.KIDNEY_CORTEX: (165, 205),
    Tissue.KIDNEY_MEDULLA: (130, 165),
    Tissue.PANCREAS: (75, 115),
    Tissue.ARTERY: (130, 180),
    Tissue.VEIN: (120, 165),
    Tissue.MYOCARDIUM: (95, 130),
    Tissue.BOWEL_WALL: (70, 115),
    Tissue.FLUID: (0, 35),
    Tissue.GAS: (-990, -930),
    Tissue.CONTRAST: (170, 380),
}
"""Lowest and highest mean of each tissue over patients."""

OVER_LIVER_HU: dict[Tissue, tuple[float, float]] = {
    Tissue.SPLEEN: (-5, 16),
    Tissue.HEPATIC_VESSEL: (15, 45),
}
"""Likewise, for what is known by how it differs from the liver."""

Palette = dict[Tissue, float]


def draw_palette(rng: np.random.Generator) -> Palette:
    """Draw one patient's tissues; spleen and vessels take after the liver."""
    hu = {tissue: rng.uniform(low, high) for tissue, (low, high) in RANGE_HU.items()}
    brighter = {tissue: rng.uniform(low, high) for tissue, (low, high) in OVER_LIVER_HU.items()}
    return hu | {tissue: hu[Tissue.LIVER] + more for tissue, more in brighter.items()}
