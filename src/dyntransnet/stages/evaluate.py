"""Segment the test scans as serving would, and score them on their own grids."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import mlflow

from dyntransnet.atomic import new_folder
from dyntransnet.config import EvaluateParams
from dyntransnet.runtimes.torch_runtime import load
from dyntransnet.scoring.figures import draw_learning, draw_overlay
from dyntransnet.scoring.metrics import CLASSES, Row, summarize
from dyntransnet.scoring.report import CASE_COLUMNS, evaluation_page
from dyntransnet.scoring.trial import Trial, run_trials, test_set_hash
from dyntransnet.tracking import same_run

CURVES = ("loss", "validation")
LEARNING = "learning.png"


def run(
    checkpoint: Path,
    cases: Path,
    splits: Path,
    training: Path,
    *,
    out: Path,
    params: EvaluateParams,
) -> None:
    """Score a checkpoint on the test cases.

    Args:
        checkpoint: what ``train`` wrote.
        cases: what ``ingest`` wrote.
        splits: what ``split`` wrote; its test cases are used.
        training: the report of ``train``: its curves are drawn, and the scores are logged
            to its MLflow run.
        out: folder to write: metrics.json, cases.csv, test_set.json, report.html, figures.
        params: how many cases are drawn.
    """
    ids = json.loads(splits.read_text())["test"]
    predict, contract = load(checkpoint)
    scores: dict[str, dict[str, Row]] = {}
    with new_folder(out) as folder:
        figures = folder / "figures"
        figures.mkdir()
        for trial in run_trials(cases, ids, predict, contract):
            scores[trial.case] = trial.scores
            _draw(trial, figures)
            print(f"evaluate: {trial.case}  {_shown(trial.scores)}")
        summary = summarize(list(scores.values()))
        pictures = _keep_worst(scores, figures, params.figures)
        (folder / "metrics.json").write_text(json.dumps(summary, indent=1) + "\n")
        (folder / "test_set.json").write_text(
            json.dumps({"cases": ids, "sha256": test_set_hash(cases, ids)})
        )
        (folder / "report.html").write_text(evaluation_page(summary, scores, pictures))
        write_cases(scores, folder / "cases.csv")
        losses, validations = (read_curve(training / f"{name}.csv") for name in CURVES)
        draw_learning(losses, validations, figures / LEARNING)
        _log(summary, folder, training)


def write_cases(scores: dict[str, dict[str, Row]], path: Path) -> None:
    """One row per case and class; an undefined score is left empty."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "class", *CASE_COLUMNS])
        for case, by_class in scores.items():
            for name in CLASSES:
                values = [by_class[name][column] for column in CASE_COLUMNS]
                writer.writerow([case, name, *("" if v != v else round(v, 6) for v in values)])


def read_curve(path: Path) -> list[dict[str, float]]:
    """Rows of a training curve; an empty cell is left out."""
    with path.open(newline="") as stream:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]


def _draw(trial: Trial, figures: Path) -> None:
    title = f"{trial.case}: Dice {_shown(trial.scores)}"
    path = figures / f"{trial.case}.png"
    draw_overlay(trial.scan, trial.predicted, path, truth=trial.truth, title=title)


def _keep_worst(scores: dict[str, dict[str, Row]], figures: Path, count: int) -> Sequence[str]:
    """Worst cases first: they are what a reader must see."""
    ranked = sorted(
        scores, key=lambda case: sum(_known(scores[case][name]["dice"]) for name in CLASSES)
    )
    for case in ranked[count:]:
        (figures / f"{case}.png").unlink()
    return [f"figures/{name}" for name in (LEARNING, *(f"{case}.png" for case in ranked[:count]))]


def _known(dice: float) -> float:
    return 1.0 if dice != dice else dice


def _shown(scores: dict[str, Row]) -> str:
    return "  ".join(f"{name} {scores[name]['dice']:.3f}" for name in CLASSES)


def _log(summary: dict[str, dict[str, float | int | None]], folder: Path, training: Path) -> None:
    with same_run(json.loads((training / "run.json").read_text())["run_id"]):
        for name, row in summary.items():
            mlflow.log_metrics(
                {f"test_{name}_{key}": value for key, value in row.items() if value is not None}
            )
        mlflow.log_artifacts(str(folder), "evaluate")
