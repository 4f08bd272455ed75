"""What a mask says in numbers: volumes, tumor burden, each lesion's size and place."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import ndimage

from dyntransnet.contract import Label
from dyntransnet.imaging.scan import Mask, spacing_of

TOUCHING = np.ones((3, 3, 3), bool)
"""Voxels that share a corner belong to one lesion (26-connected)."""


Box = tuple[slice, slice, slice]

Within = Callable[[Box], Iterator[tuple[slice, np.ndarray]]]
"""A box of a scan's grid in; which slices of its last axis, and their probabilities, out."""


class Lesion(BaseModel):
    """One connected tumor.

    Attributes:
        volume_ml: milliliters.
        diameter_mm: of the sphere of equal volume.
        center_mm: RAS+ world coordinates of the center of mass.
        voxels: how many.
        probability: mean of the tumor's probability in it; None where a mask is all that
            is known.
    """

    model_config = ConfigDict(frozen=True)

    volume_ml: float
    diameter_mm: float
    center_mm: tuple[float, float, float]
    voxels: int
    probability: float | None = None


class Findings(BaseModel):
    """A mask in numbers.

    Attributes:
        liver_ml: whole liver, tumors included.
        tumor_ml: all tumors.
        tumor_burden: tumor_ml / liver_ml, 0 where there is no liver.
        lesions: largest first.
        spacing_mm: voxel edges of the scan.
        shape: voxels of the scan.
    """

    model_config = ConfigDict(frozen=True)

    liver_ml: float
    tumor_ml: float
    tumor_burden: float
    lesions: tuple[Lesion, ...]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    def to_json(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return self.model_dump(mode="json")


def measure(mask: Mask, within: Within | None = None) -> Findings:
    """Measure a mask on its own grid.

    Args:
        mask: what was found.
        within: the probabilities it was found from, the tumor's last.
    """
    inside = mask.labels[_labeled_box(mask)]
    liver_ml, tumor_ml = (
        np.count_nonzero(inside >= label) * mask.voxel_ml for label in (Label.LIVER, Label.TUMOR)
    )
    x, y, z = mask.labels.shape
    return Findings(
        liver_ml=liver_ml,
        tumor_ml=tumor_ml,
        tumor_burden=tumor_ml / liver_ml if liver_ml else 0.0,
        lesions=tuple(find_lesions(mask, within)),
        spacing_mm=spacing_of(mask.affine),
        shape=(x, y, z),
    )


def find_lesions(mask: Mask, within: Within | None = None) -> list[Lesion]:
    """Every connected tumor, largest first; arguments as of ``measure``."""
    near = _labeled_box(mask)
    tumor = mask.labels[near] == Label.TUMOR
    if not tumor.any():
        return []
    around = box_of(tumor)  # labeling a whole scan takes seconds
    pieces, count = ndimage.label(tumor[around], structure=TOUCHING)
    corner = _corner(near) + _corner(around)
    means = _means(pieces, count, corner, within) if within else [None] * count
    lesions = [
        _lesion(pieces[box] == number, corner + _corner(box), mask, mean)
        for number, (box, mean) in enumerate(
            zip(ndimage.find_objects(pieces), means, strict=True), start=1
        )
    ]
    return sorted(lesions, key=lambda lesion: -lesion.voxels)


def diameter_mm_of(volume_ml: float) -> float:
    """Diameter of the sphere of equal volume."""
    return float(2 * (3 * volume_ml * 1000 / (4 * np.pi)) ** (1 / 3))


def box_of(inside: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds all of a mask."""
    spans = (np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    return tuple(slice(span[0], span[-1] + 1) for span in spans)


def _labeled_box(mask: Mask) -> tuple[slice, ...]:
    """The box of all that is labeled, found slice by slice: most of a scan is neither."""
    slices = np.flatnonzero(mask.labels.max(axis=(0, 1)))
    if not slices.size:
        return (slice(0, 0),) * 3
    deep = slice(int(slices[0]), int(slices[-1]) + 1)
    flat = mask.labels[:, :, deep].max(axis=2)
    x, y = (np.flatnonzero(flat.any(axis=other)) for other in (1, 0))
    return slice(x[0], x[-1] + 1), slice(y[0], y[-1] + 1), deep


def _corner(box: tuple[slice, ...]) -> np.ndarray:
    return np.array([edge.start for edge in box])


def _means(pieces: np.ndarray, count: int, corner: np.ndarray, within: Within) -> list[float]:
    """The tumor's mean probability in each piece, some slices at a time."""
    x, y, z = (
        slice(int(first), int(first) + edge)
        for first, edge in zip(corner, pieces.shape, strict=True)
    )
    sums = np.zeros(count + 1)
    for rows, values in within((x, y, z)):
        sums += np.bincount(pieces[..., rows].ravel(), values[-1].ravel(), count + 1)
    means: list[float] = (sums / np.bincount(pieces.ravel(), minlength=count + 1))[1:].tolist()
    return means


def _lesion(
    inside: np.ndarray, corner: np.ndarray, mask: Mask, probability: float | None
) -> Lesion:
    voxels = int(inside.sum())
    volume_ml = voxels * mask.voxel_ml
    index = np.argwhere(inside).mean(axis=0) + corner
    x, y, z = (mask.affine @ [*index, 1.0])[:3]
    return Lesion(
        volume_ml=volume_ml,
        diameter_mm=diameter_mm_of(volume_ml),
        center_mm=(float(x), float(y), float(z)),
        voxels=voxels,
        probability=probability,
    )
