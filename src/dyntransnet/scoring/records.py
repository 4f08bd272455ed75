"""Scores and curves as CSV files: what one stage writes and another reads."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dyntransnet.errors import InputError, ParamsError
from dyntransnet.scoring.detection import FoundLesion
from dyntransnet.scoring.overlap import CLASSES, Row

CASES_FILE = "cases.csv"

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


def read_cases(path: Path, columns: Sequence[str] = COLUMNS) -> dict[str, dict[str, Row]]:
    """Case to class to scores; an empty cell is NaN.

    Args:
        path: what ``write_cases`` wrote.
        columns: those that are needed.

    Raises:
        InputError: the file cannot be read, a column is missing (another version wrote it),
            a cell is no number, or a case has two rows for a class.
    """
    scores: dict[str, dict[str, Row]] = {}
    try:
        with path.open(newline="") as stream:
            rows = csv.DictReader(stream)
            if missing := sorted({"case", "class", *columns} - set(rows.fieldnames or ())):
                raise InputError(
                    f"{path}: must have every column, got none of {', '.join(missing)}"
                )
            for row in rows:
                by_class = scores.setdefault(row["case"], {})
                if row["class"] in by_class:
                    raise InputError(
                        f"{path}: must have one row for each case and class, "
                        f"got {row['case']} {row['class']} twice"
                    )
                by_class[row["class"]] = {
                    column: float(row[column] or math.nan) for column in columns
                }
    except OSError as error:
        raise InputError(f"{path}: must be readable, got {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: must be a table of scores, got {error}") from error
    return scores


def read_patients(path: Path, cases: Iterable[str]) -> dict[str, str]:
    """The patient of each case.

    Args:
        path: JSON with ``patients``, as ``split`` writes it.
        cases: that must be in it.

    Raises:
        ParamsError: the file is something else, or a case has no patient.
    """
    try:
        patient_of = json.loads(path.read_text())["patients"]
        known = {case: patient_of.get(case) for case in cases}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParamsError(
            f"{path}: must be JSON with the patient of each case under patients, "
            f"got {type(error).__name__}"
        ) from error
    if missing := [case for case, patient in known.items() if not isinstance(patient, str)]:
        raise ParamsError(
            f"{path}: must name the patient of every case, got none of {', '.join(missing)}"
        )
    return known


def read_curve(path: Path) -> list[dict[str, float]]:
    """Rows of a training curve; an empty cell is left out."""
    with path.open(newline="") as stream:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]
