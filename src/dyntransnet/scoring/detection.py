"""Which tumors were found: lesions matched one by one, as the LiTS scorer means it."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from dyntransnet.imaging.lesions import TOUCHING
from dyntransnet.scoring.overlap import Row, box_of, check_one_grid

MIN_OVERLAP = 0.5
LEAST_DICE = 2 * MIN_OVERLAP / (1 + MIN_OVERLAP)
"""Dice = 2 J / (1 + J) grows with J, intersection over union."""


def lesion_scores(truth: Bool[np.ndarray, "_ _ _"], predicted: Bool[np.ndarray, "_ _ _"]) -> Row:
    """Count lesions, and measure those that were detected.

    Follows ``detect_lesions`` of the LiTS scorer as its docstring describes it. Lesions
    of the truth that overlap most with the same predicted lesion are one object; each
    predicted lesion joins the object it overlaps most; an object is detected where
    intersection over union with its predicted lesions exceeds 0.5. Three things differ
    from the scorer's code: lesions are 26-connected as everywhere in this project (the
    scorer takes scipy's 6), the union is that of the matched lesions (the scorer
    compares with labels it has already replaced), and every lesion of a detected
    object counts as detected.

    Args:
        truth: reference tumors.
        predicted: tumors under test, on the same grid.

    Returns:
        ``lesions_truth``, ``lesions_predicted``, ``lesions_detected`` (of the truth),
        ``lesions_false`` (predicted, of no detected object), ``matches`` (detected
        objects) and ``matches_dice``, the sum of their Dice.

    Raises:
        ScanError: the masks lie on different grids.

    Source:
        https://github.com/PatrickChrist/lits-challenge-scoring program/helpers/calc_metric.py
    """
    check_one_grid(truth, predicted)
    shared, sizes, found_sizes = _count(truth, predicted)
    objects = np.arange(len(found_sizes))
    belongs = _largest(shared)[:, None] == objects
    joins = _largest(shared.T @ belongs)[:, None] == objects
    both = ((shared @ joins) * belongs).sum(axis=0)
    whole = sizes @ belongs + found_sizes @ joins
    dices = np.divide(2 * both, whole, out=np.zeros(len(objects)), where=whole > 0)
    detected = dices > LEAST_DICE
    return {
        "lesions_truth": len(sizes),
        "lesions_predicted": len(found_sizes),
        "lesions_detected": int(belongs[:, detected].sum()),
        "lesions_false": len(found_sizes) - int(joins[:, detected].sum()),
        "matches": int(detected.sum()),
        "matches_dice": float(dices[detected].sum()),
    }


def _count(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxels shared by each pair of lesions (truth, predicted), and each lesion's own."""
    either = truth | predicted
    if not either.any():
        return np.zeros((0, 0), int), np.zeros(0, int), np.zeros(0, int)
    box = box_of(either)  # labeling a whole scan takes seconds
    (known, count), (found, found_count) = (
        ndimage.label(mask[box], structure=TOUCHING) for mask in (truth, predicted)
    )
    pairs = known.ravel().astype(np.int64) * (found_count + 1) + found.ravel()
    table = np.bincount(pairs, minlength=(count + 1) * (found_count + 1))
    table = table.reshape(count + 1, found_count + 1)
    return table[1:, 1:], table[1:].sum(axis=1), table[:, 1:].sum(axis=0)


def _largest(shared: np.ndarray) -> np.ndarray:
    """Per row the column with most voxels, -1 where there are none.

    A column that names an object is the predicted lesion that gathers it.
    """
    touched = shared.any(axis=1)
    return np.where(touched, shared.argmax(axis=1) if touched.any() else 0, -1)
