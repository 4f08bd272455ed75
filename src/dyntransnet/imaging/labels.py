"""Masks that number liver and tumor in another way, or lie turned on their scan."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8

from dyntransnet.contract import Label
from dyntransnet.errors import ScanError

SHOWN = 8
"""How many of a mask's values a message names."""


@dataclass(frozen=True)
class Numbering:
    """Which voxel values of a dataset's masks are liver and tumor; 0 is background.

    Attributes:
        liver: values of liver outside tumors.
        tumor: values of tumor.
        others: what any other value is: a reason to refuse the mask, or background.
    """

    liver: tuple[int, ...] = (int(Label.LIVER),)
    tumor: tuple[int, ...] = (int(Label.TUMOR),)
    others: Literal["refused", "background"] = "refused"


OURS = Numbering()
"""0 background, 1 liver, 2 tumor, as LiTS, MSD and ATLAS have it."""


def to_labels(values: np.ndarray, numbering: Numbering, case: str) -> UInt8[np.ndarray, "x y z"]:
    """A mask's own values as ours.

    Raises:
        ScanError: there are others, and they are to be refused.
    """
    liver, tumor = _among(values, numbering.liver), _among(values, numbering.tumor)
    labels = liver * np.uint8(Label.LIVER) + tumor * np.uint8(Label.TUMOR)
    if numbering.others == "refused" and not ((labels > 0) | (values == 0)).all():
        known = (int(Label.BACKGROUND), *numbering.liver, *numbering.tumor)
        shown = ", ".join(f"{value:g}" for value in np.unique(values)[:SHOWN])
        raise ScanError(
            f"{case}: labels must be {_listed(known)}, got {shown}", code="label-unknown"
        )
    return labels


def _among(values: np.ndarray, known: tuple[int, ...]) -> Bool[np.ndarray, "x y z"]:
    """Where a value is one of a few; np.isin takes ten times as long on a turned array."""
    found = np.zeros_like(values, bool)
    for value in known:
        found |= values == value
    return found


def _listed(known: tuple[int, ...]) -> str:
    *first, last = map(str, sorted(known))
    return f"{', '.join(first)} or {last}" if first else last
