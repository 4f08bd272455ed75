"""Studies whose result is known: folders of trainings that nobody trained."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path

from dyntransnet.scoring.metrics import summarize
from dyntransnet.scoring.overlap import Row
from dyntransnet.scoring.records import write_cases
from dyntransnet.scoring.study.trainings import Training

NAN = math.nan
NSD_MM = {"liver": 3.0, "tumor": 2.0}
LIVER_VOXELS, TUMOR_VOXELS, SCAN_VOXELS = 10_000, 1_000, 100_000

Dices = Mapping[str, tuple[float, float]]
"""Case to the Dice of liver and tumor; NaN: neither truth nor prediction has any."""


def scores_of(dices: Dices) -> dict[str, dict[str, Row]]:
    """Scores that fit a Dice: truth and prediction of equal size, distances in step with it."""
    return {
        case: {
            "liver": _row(liver, LIVER_VOXELS),
            "tumor": _row(tumor, TUMOR_VOXELS) | _lesions(tumor),
        }
        for case, (liver, tumor) in dices.items()
    }


def training_of(
    variant: str, dices: Dices, *, seed: int = 1, fold: int = 0, steps: int = 4, **changes
) -> Training:
    """A training with curves that rise and fall as they should."""
    at = [10.0 * (number + 1) for number in range(steps)]
    values = {
        "variant": variant,
        "seed": seed,
        "fold": str(fold),
        "scores": scores_of(dices),
        "losses": [{"step": step, "loss": 10 / (10 + step) + seed / 50} for step in at],
        "validations": [
            {"step": step, "dice_liver": 1 - 9 / step, "dice_tumor": 0.5 - 4 / step} for step in at
        ],
        "facts": {"run_id": f"{variant}{seed}", "best_step": 40, "parameters": 9_100_000},
        "test_set": {"sha256": "0" * 64, "nsd_mm": NSD_MM},
    }
    return Training(**values | changes)


def save_training(runs: Path, training: Training) -> Path:
    """Write a training's folder as the stages do."""
    folder = runs / training.name
    for part in ("train", "scores"):
        (folder / part).mkdir(parents=True)
    _save_curve(folder / "train/loss.csv", training.losses)
    _save_curve(folder / "train/validation.csv", training.validations)
    (folder / "train/run.json").write_text(json.dumps(training.facts))
    write_cases(training.scores, folder / "scores/cases.csv")
    summary = summarize([*training.scores.values()])
    (folder / "scores/metrics.json").write_text(json.dumps(summary))
    (folder / "scores/test_set.json").write_text(json.dumps(training.test_set))
    return folder


def save_splits(path: Path, patient_of: Mapping[str, str]) -> None:
    """The part of them that says whose each case is."""
    path.write_text(json.dumps({"version": 1, "patients": patient_of}))


def _row(dice: float, voxels: int) -> Row:
    there = 0 if math.isnan(dice) else voxels
    both = 0 if math.isnan(dice) else round(dice * voxels)
    return {
        "dice": dice,
        "iou": dice / (2 - dice),
        "precision": dice,
        "recall": dice,
        "truth_ml": there / 1000,
        "predicted_ml": there / 1000,
        "volume_error_ml": 0.0,
        "absolute_volume_error_ml": 0.0,
        "hd95_mm": 20 * (1 - dice),
        "nsd": dice,
        "assd_mm": 5 * (1 - dice),
        "both_voxels": both,
        "truth_voxels": there,
        "predicted_voxels": there,
        "same_label_voxels": round(0.9 * both),
        "scan_voxels": SCAN_VOXELS,
    }


def _lesions(dice: float) -> Row:
    there, found = int(not math.isnan(dice)), int(dice > 2 / 3)
    return {
        "lesions_truth": there,
        "lesions_predicted": there,
        "lesions_detected": found,
        "lesions_false": there - found,
        "matches": found,
        "matches_dice": dice if found else 0.0,
    }


def _save_curve(path: Path, rows) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), restval="")
        writer.writeheader()
        writer.writerows(rows)
