"""Which tumors were found: lesions matched one by one, as the LiTS scorer means it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy import ndimage

from dyntransnet.imaging.lesions import TOUCHING, diameter_mm_of
from dyntransnet.scoring.overlap import Row, box_of, check_one_grid

MIN_OVERLAP = 0.5
LEAST_DICE = 2 * MIN_OVERLAP / (1 + MIN_OVERLAP)
"""Dice = 2 J / (1 + J) grows with J, intersection over union."""

SMALL_BELOW_MM, LARGE_ABOVE_MM = 10.0, 20.0


class Size(StrEnum):
    """How large a lesion is, by the diameter of the sphere of equal volume."""

    SMALL = "below_10_mm"
    MEDIUM = "10_to_20_mm"
    LARGE = "above_20_mm"

    @classmethod
    def of(cls, diameter_mm: float) -> "Size":
        """Both limits belong to the lesions in the middle."""
        if diameter_mm < SMALL_BELOW_MM:
            return cls.SMALL
        return cls.LARGE if diameter_mm > LARGE_ABOVE_MM else cls.MEDIUM


@dataclass(frozen=True)
class FoundLesion:
    """One connected tumor of the truth or of the prediction.

    Attributes:
        is_truth: whose it is.
        volume_ml: milliliters.
        diameter_mm: of the sphere of equal volume.
        match: number of the detected object that it belongs to; None of none: it was
            missed, or is false.
        dice: of that object; NaN of none.
    """

    is_truth: bool
    volume_ml: float
    diameter_mm: float
    match: int | None
    dice: float

    @property
    def size(self) -> Size:
        """Its bin."""
        return Size.of(self.diameter_mm)


@dataclass(frozen=True)
class Matching:
    """Lesions of truth and prediction, gathered to objects.

    Attributes:
        sizes: voxels of each lesion of the truth.
        found_sizes: voxels of each predicted lesion.
        belongs: object of each lesion of the truth, -1 of none.
        joins: object of each predicted lesion, -1 of none.
        dices: of each object, 0 of one that does not exist.
    """

    sizes: Int[np.ndarray, " truth"]
    found_sizes: Int[np.ndarray, " predicted"]
    belongs: Int[np.ndarray, " truth"]
    joins: Int[np.ndarray, " predicted"]
    dices: Float64[np.ndarray, " objects"]

    def counts(self) -> Row:
        """What ``lesion_scores`` gives."""
        detected = self.dices > LEAST_DICE
        return {
            "lesions_truth": len(self.sizes),
            "lesions_predicted": len(self.found_sizes),
            "lesions_detected": int(self._is_matched(self.belongs).sum()),
            "lesions_false": int((~self._is_matched(self.joins)).sum()),
            "matches": int(detected.sum()),
            "matches_dice": float(self.dices[detected].sum()),
        }

    def lesions(self, voxel_ml: float) -> Iterator[FoundLesion]:
        """Each lesion, those of the truth first."""
        for is_truth, sizes, objects in (
            (True, self.sizes, self.belongs),
            (False, self.found_sizes, self.joins),
        ):
            matched = self._is_matched(objects)
            for voxels, number, found in zip(sizes, objects, matched, strict=True):
                volume_ml = float(voxels * voxel_ml)
                yield FoundLesion(
                    is_truth=is_truth,
                    volume_ml=volume_ml,
                    diameter_mm=diameter_mm_of(volume_ml),
                    match=int(number) if found else None,
                    dice=float(self.dices[number]) if found else math.nan,
                )

    def _is_matched(self, objects: np.ndarray) -> Bool[np.ndarray, " _"]:
        return np.append(self.dices, 0.0)[objects] > LEAST_DICE  # -1 takes the 0 at the end


def lesion_scores(truth: Bool[np.ndarray, "_ _ _"], predicted: Bool[np.ndarray, "_ _ _"]) -> Row:
    """Count lesions, and measure those that were detected.

    Returns:
        ``lesions_truth``, ``lesions_predicted``, ``lesions_detected`` (of the truth),
        ``lesions_false`` (predicted, of no detected object), ``matches`` (detected
        objects) and ``matches_dice``, the sum of their Dice.

    Raises:
        ScanError: the masks lie on different grids.
    """
    return match_lesions(truth, predicted).counts()


def match_lesions(
    truth: Bool[np.ndarray, "_ _ _"], predicted: Bool[np.ndarray, "_ _ _"]
) -> Matching:
    """Gather lesions to objects.

    Follows ``detect_lesions`` of the LiTS scorer as its docstring describes it. Lesions
    of the truth that overlap most with the same predicted lesion are one object; each
    predicted lesion joins the object it overlaps most; an object is detected where
    intersection over union with its predicted lesions exceeds 0.5. Three things differ
    from the scorer's code: lesions are 26-connected as everywhere in this project (the
    scorer takes scipy's 6), the union is that of the matched lesions (the scorer
    compares with labels it has already replaced), and every lesion of a detected
    object counts as detected. ``scoring.lits_scorer`` has the scorer's numbers.

    Args:
        truth: reference tumors.
        predicted: tumors under test, on the same grid.

    Raises:
        ScanError: the masks lie on different grids.

    Source:
        https://github.com/PatrickChrist/lits-challenge-scoring program/helpers/calc_metric.py
    """
    check_one_grid(truth, predicted)
    shared, sizes, found_sizes = _count(truth, predicted)
    objects = np.arange(len(found_sizes))
    leads = _largest(shared)
    belongs = leads[:, None] == objects
    follows = _largest(shared.T @ belongs)
    joins = follows[:, None] == objects
    both = ((shared @ joins) * belongs).sum(axis=0)
    whole = sizes @ belongs + found_sizes @ joins
    dices = np.divide(2 * both, whole, out=np.zeros(len(objects)), where=whole > 0)
    return Matching(sizes, found_sizes, leads, follows, dices)


def _count(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxels shared by each pair of lesions (truth, predicted), and each lesion's own."""
    either = truth | predicted
    if not either.any():
        return np.zeros((0, 0), int), np.zeros(0, int), np.zeros(0, int)
    box = box_of(either)  # labeling a whole scan takes seconds
    (known, count), (found, found_count) = (
        ndimage.label(mask[box], structure=TOUCHING) for mask in (truth, predicted)
    )
    table = shared_voxels(known, found, count, found_count)
    return table[1:, 1:], table[1:].sum(axis=1), table[:, 1:].sum(axis=0)


def shared_voxels(
    known: Int[np.ndarray, "*grid"], found: Int[np.ndarray, "*grid"], count: int, found_count: int
) -> Int[np.ndarray, "known found"]:
    """For each pair of numbers, 0 to the counts, the voxels that have both."""
    pairs = known.astype(np.int64) * (found_count + 1) + found
    table = np.bincount(pairs.ravel(order="K"), minlength=(count + 1) * (found_count + 1))
    return table.reshape(count + 1, found_count + 1)


def _largest(shared: np.ndarray) -> np.ndarray:
    """Per row the column with most voxels, -1 where there are none.

    A column that names an object is the predicted lesion that gathers it.
    """
    touched = shared.any(axis=1)
    return np.where(touched, shared.argmax(axis=1) if touched.any() else 0, -1)
