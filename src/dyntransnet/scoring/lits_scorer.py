"""The scores of the LiTS challenge, number for number as its scorer computes them.

They differ from this package's own on purpose, and stand in no table with them: lesions
are 6-connected, surfaces are voxel centers that count alike, whatever the scorer cannot
compute is 9001, two masks without a lesion have Dice 1, and a prediction without a voxel
of label 1 has no liver. Of its slips three change numbers and are kept: the union of a
match takes the number of a predicted lesion for that of an object; an undetected object
lowers the count by each lesion of the truth in it, which may make it negative; and the
volume difference is relative to the prediction.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from dyntransnet.contract import Label
from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import Mask, spacing_of
from dyntransnet.scoring.cropping import crop_to_both
from dyntransnet.scoring.detection import shared_voxels
from dyntransnet.scoring.lits_detection import detect, masks_of
from dyntransnet.scoring.nearest import distances_mm
from dyntransnet.scoring.overlap import overlap, ratio
from dyntransnet.scoring.surfels import SpacingMm

LARGE = 9001.0
OBJECT_SCORES = ("dice", "jaccard", "voe", "rvd", "assd", "rmsd", "msd")
NOTHING = dict(zip(OBJECT_SCORES, (0.0, 0.0, 1.0, LARGE, LARGE, LARGE, LARGE), strict=True))
OVERLAPS = (0.0, 0.5)
BORDER = ndimage.generate_binary_structure(3, 2)

ObjectScores = dict[str, float]


@dataclass(frozen=True)
class LitsCase:
    """What the scorer keeps of one case.

    Attributes:
        liver: scores of the liver as one object.
        lesions: scores of each detected object.
        liver_dice: of the case.
        lesion_dice: of the case; 1 where neither mask has a lesion.
        liver_voxels: in both masks, and in the two together.
        lesion_voxels: the same of lesions.
        detected: lesions detected at an overlap above 0, and above 0.5.
        predicted: lesions of the prediction.
        reference: lesions of the truth.
        burden_error: share of the liver that is tumor, truth - prediction.
    """

    liver: ObjectScores
    lesions: tuple[ObjectScores, ...]
    liver_dice: float
    lesion_dice: float
    liver_voxels: tuple[int, int]
    lesion_voxels: tuple[int, int]
    detected: tuple[int, int]
    predicted: int
    reference: int
    burden_error: float


def score_lits_case(case: str, truth: Mask, predicted: Mask) -> LitsCase:
    """Score one case.

    Args:
        case: its id, for messages.
        truth: reference mask.
        predicted: mask under test, on the same grid.

    Raises:
        ScanError: the masks lie on different grids, or the truth has no liver, which
            the scorer cannot divide by.

    Source:
        https://github.com/PatrickChrist/lits-challenge-scoring program/evaluate.py
    """
    known, found = crop_to_both(truth.labels, predicted.labels)
    if not known.any():
        raise ScanError(f"{case}: reference must have a liver for the LiTS scorer, got none")
    spacing = spacing_of(truth.affine)
    liver, lesions = ((known >= 1, found >= 1), (known == Label.TUMOR, found == Label.TUMOR))
    has_liver = bool((found == Label.LIVER).any())
    both, in_truth, in_predicted = overlap(*liver)
    liver_voxels = (both, in_truth + in_predicted) if has_liver else (0, in_truth)
    both, in_truth, in_predicted = overlap(*lesions)
    lesion_voxels = (both, in_truth + in_predicted)
    (labels, count), (found_labels, found_count) = (ndimage.label(mask) for mask in lesions)
    shared = shared_voxels(labels, found_labels, count, found_count)
    (touched, _), (detected, objects) = (detect(shared, least) for least in OVERLAPS)
    if detected <= 0:
        objects = []
    return LitsCase(
        liver=_compare(*liver, spacing) if has_liver else dict(NOTHING),
        lesions=tuple(_compare(*pair, spacing) for pair in masks_of(objects, labels, found_labels)),
        liver_dice=2 * liver_voxels[0] / liver_voxels[1],
        lesion_dice=2 * both / lesion_voxels[1] if lesion_voxels[1] else 1.0,
        liver_voxels=liver_voxels,
        lesion_voxels=lesion_voxels,
        detected=(touched, detected),
        predicted=found_count,
        reference=count,
        burden_error=_burden(known) - (_burden(found) if has_liver else LARGE),
    )


def summarize_lits(cases: Sequence[LitsCase]) -> dict[str, float | None]:
    """All that the scorer prints, under its names.

    Returns:
        None where a share is one of nothing; the scorer stops there.
    """
    lesions = [scores for case in cases for scores in case.lesions] or [NOTHING]
    touched, detected = (sum(case.detected[at] for case in cases) for at in range(len(OVERLAPS)))
    predicted, reference = (
        sum(counts) for counts in zip(*((c.predicted, c.reference) for c in cases), strict=True)
    )
    errors = np.array([case.burden_error for case in cases])
    return {
        "lesion_precision": ratio(detected, predicted) if predicted else 0.0,
        "lesion_recall": ratio(detected, reference) if reference else 0.0,
        "lesion_precision_greater_zero": ratio(touched, predicted) if predicted else 0.0,
        "lesion_recall_greater_zero": ratio(touched, reference) if reference else 0.0,
        **_means("lesion", lesions),
        "lesion_dice_per_case": float(np.mean([case.lesion_dice for case in cases])),
        "lesion_dice_global": _pooled([case.lesion_voxels for case in cases]),
        **_means("liver", [case.liver for case in cases]),
        "liver_dice_per_case": float(np.mean([case.liver_dice for case in cases])),
        "liver_dice_global": _pooled([case.liver_voxels for case in cases]),
        "RMSE_Tumorburden": float(np.sqrt(np.mean(errors**2))),
        "MAXERROR_Tumorburden": float(errors.max()),
    }


def write_lits(cases: Mapping[str, LitsCase], table: Path, lesions: Path) -> None:
    """What was kept of each case as CSV, and the scores of each detected object.

    Args:
        cases: case id to its scores.
        table: file for the cases.
        lesions: file for the objects.
    """
    head = [
        *(f"liver_{name}" for name in OBJECT_SCORES), "liver_dice_per_case", "lesion_dice_per_case",
        "lesions_reference", "lesions_predicted", "detected_greater_zero", "detected",
        "burden_error",
    ]  # fmt: skip
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", *head])
        for case, one in cases.items():
            dices = (*one.liver.values(), one.liver_dice, one.lesion_dice)
            counts = (one.reference, one.predicted, *one.detected)
            writer.writerow([case, *dices, *counts, one.burden_error])
    with lesions.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", *OBJECT_SCORES])
        writer.writerows([case, *o.values()] for case, one in cases.items() for o in one.lesions)


def _means(name: str, objects: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    return {
        f"{name}_{score}": float(np.mean([scores[score] for scores in objects]))
        for score in OBJECT_SCORES
    }


def _pooled(voxels: Sequence[tuple[int, int]]) -> float | None:
    both, whole = (sum(counts) for counts in zip(*voxels, strict=True))
    return 2 * both / whole if whole else None


def _burden(labels: np.ndarray) -> float:
    return np.count_nonzero(labels == Label.TUMOR) / np.count_nonzero(labels)


def _compare(truth: np.ndarray, predicted: np.ndarray, spacing_mm: SpacingMm) -> ObjectScores:
    """Scores of two objects."""
    both, in_truth, in_predicted = overlap(truth, predicted)
    if not (in_truth and in_predicted):
        return dict(NOTHING)
    dice = 2 * both / (in_truth + in_predicted)
    one, other = (
        np.argwhere(mask ^ ndimage.binary_erosion(mask, BORDER)) for mask in (truth, predicted)
    )
    distances = np.concatenate(
        [distances_mm(one, other, spacing_mm), distances_mm(other, one, spacing_mm)]
    )
    jaccard = dice / (2 - dice)
    return {
        "dice": dice,
        "jaccard": jaccard,
        "voe": 1 - jaccard,
        "rvd": (in_truth - in_predicted) / in_predicted,
        "assd": float(distances.mean()),
        "rmsd": math.sqrt(float(np.mean(distances**2))),
        "msd": float(distances.max()),
    }
