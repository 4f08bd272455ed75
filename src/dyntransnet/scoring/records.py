"""Scores and curves as CSV files: what one stage writes and another reads."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dyntransnet.errors import InputError
from dyntransnet.scoring.detection import FoundLesion
from dyntransnet.scoring.overlap import CLASSES, Row

Curve = Sequence[Mapping[str, float]]
"""Rows with ``step`` and what was measured there."""

CASE_COLUMNS = (
    "dice", "iou", "precision", "recall", "truth_ml", "predicted_ml", "volume_error_ml",
    "absolute_volume_error_ml", "hd95_mm", "nsd", "assd_mm",
)  # fmt: skip
"""What a person reads of one case."""

COLUMNS = (
    *CASE_COLUMNS,
    "both_voxels", "truth_voxels", "predicted_voxels", "same_label_voxels", "scan_voxels",
    "lesions_truth", "lesions_predicted", "lesions_detected", "lesions_false",
    "matches", "matches_dice",
)  # fmt: skip
"""All that ``score_case`` says; counts of lesions stand in the rows of tumors only."""

BIN_COLUMNS = ("low", "high", "voxels", "probability", "inside")

LESION_COLUMNS = ("mask", "volume_ml", "diameter_mm", "size", "match", "dice")


def write_cases(scores: Mapping[str, Mapping[str, Row]], path: Path) -> None:
    """One row per case and class; an undefined score is left empty."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "class", *COLUMNS])
        for case, by_class in scores.items():
            for name in CLASSES:
                values = [by_class[name].get(column, math.nan) for column in COLUMNS]
                writer.writerow([case, name, *("" if v != v else round(v, 6) for v in values)])


def write_lesions(lesions: Mapping[str, Sequence[FoundLesion]], path: Path) -> None:
    """One row per lesion of truth and prediction; no match leaves match and Dice empty.

    Lesions with one number in ``match`` are one detected object of their case, and have
    its Dice.
    """
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", *LESION_COLUMNS])
        for case, found in lesions.items():
            for one in found:
                whose = "truth" if one.is_truth else "predicted"
                sizes = (round(one.volume_ml, 6), round(one.diameter_mm, 6), one.size.value)
                match = ("", "") if one.match is None else (one.match, round(one.dice, 6))
                writer.writerow([case, whose, *sizes, *match])


def write_dices(scores: Mapping[str, Mapping[str, Row]], path: Path) -> None:
    """One row per case and one column per class, for ``dvc plots``; undefined ones are empty."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", *CLASSES])
        for case, by_class in scores.items():
            dices = (by_class[name]["dice"] for name in CLASSES)
            writer.writerow([case, *("" if math.isnan(dice) else round(dice, 6) for dice in dices)])


def write_bins(bins: Sequence[Row], path: Path) -> None:
    """One row per bin of probabilities; an empty bin has no probability and no share.

    Args:
        bins: what ``Reliability.rows`` gives.
        path: CSV file to write.
    """
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(BIN_COLUMNS)
        for row in bins:
            values = (row[column] for column in BIN_COLUMNS)
            writer.writerow(["" if value != value else round(value, 6) for value in values])


def read_cases(path: Path) -> dict[str, dict[str, Row]]:
    """Case to class to scores; an empty cell is NaN.

    Raises:
        InputError: a column is missing: another version wrote the file.
    """
    scores: dict[str, dict[str, Row]] = {}
    with path.open(newline="") as stream:
        rows = csv.DictReader(stream)
        if missing := sorted({"case", "class", *COLUMNS} - set(rows.fieldnames or ())):
            raise InputError(f"{path}: must have every column, got none of {', '.join(missing)}")
        for row in rows:
            scores.setdefault(row["case"], {})[row["class"]] = {
                column: float(row[column] or math.nan) for column in COLUMNS
            }
    return scores


def read_curve(path: Path) -> list[dict[str, float]]:
    """Rows of a training curve; an empty cell is left out."""
    with path.open(newline="") as stream:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]
