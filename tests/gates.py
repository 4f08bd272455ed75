"""Evaluations whose Dice is known, and rules to judge them by."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path

from dyntransnet.scoring.gate import Rules
from dyntransnet.scoring.overlap import Row
from dyntransnet.scoring.pairing import Evaluation
from dyntransnet.scoring.records import CASES_FILE, write_cases

Dices = Mapping[str, tuple[float, float]]
"""Case to the Dice of liver and tumor; NaN: neither truth nor prediction has any."""

LIVER_VOXELS, TUMOR_VOXELS, MARKED, VOXEL_ML = 10_000, 500, 70, 0.004
NAN = math.nan
RULES = Rules(
    min_dice_liver=0.0,
    min_dice_tumor=0.0,
    margin={"liver": 0.02, "tumor": 0.1},
    confidence=0.95,
    max_slowdown=1.5,
)


def evaluation(
    dices: Dices, *, healthy: Collection[str] = (), test_set: str | None = None
) -> Evaluation:
    """``healthy`` cases have no tumor in truth; a Dice of 0 there is a false alarm."""
    scores = {
        case: {
            "liver": _row(liver, LIVER_VOXELS),
            "tumor": _row(tumor, 0 if case in healthy else TUMOR_VOXELS),
        }
        for case, (liver, tumor) in dices.items()
    }
    return Evaluation(scores, test_set)


def tumors(*dices: float, first: int = 0, healthy: Collection[str] = ()) -> Evaluation:
    """Cases a, b, c ... of one liver Dice."""
    named = {chr(ord("a") + first + n): (0.9, dice) for n, dice in enumerate(dices)}
    return evaluation(named, healthy=healthy)


def save(folder: Path, found: Evaluation) -> Path:
    """As ``evaluate`` does, so far as the gate reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_cases(found.scores, folder / CASES_FILE)
    if found.test_set:
        (folder / "test_set.json").write_text(f'{{"sha256": "{found.test_set}"}}')
    return folder


def _row(dice: float, voxels: int) -> Row:
    return {
        "dice": dice,
        "truth_ml": voxels * VOXEL_ML,
        "truth_voxels": voxels,
        "predicted_voxels": 0 if math.isnan(dice) else voxels or MARKED,
    }
