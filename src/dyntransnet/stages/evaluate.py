"""Segment held-out scans as serving would, and score them on their own grids."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow

from dyntransnet.atomic import new_folder
from dyntransnet.config import EvaluateParams
from dyntransnet.errors import ParamsError
from dyntransnet.imaging.scan import write_mask
from dyntransnet.runtimes.torch_runtime import load
from dyntransnet.scoring.curves import draw_learning
from dyntransnet.scoring.definitions import dice_definitions
from dyntransnet.scoring.figures import draw_overlay
from dyntransnet.scoring.metrics import summarize
from dyntransnet.scoring.overlap import CLASSES, Row
from dyntransnet.scoring.records import read_curve, write_cases
from dyntransnet.scoring.report import evaluation_page
from dyntransnet.scoring.trial import Trial, run_trials, test_set_hash
from dyntransnet.tracking import same_run

CURVES = ("loss", "validation")
LEARNING = "learning.png"

Summary = dict[str, dict[str, float | int | None]]


def run(
    checkpoint: Path,
    cases: Path,
    splits: Path,
    training: Path,
    *,
    out: Path,
    params: EvaluateParams,
    fold: int | None = None,
    masks: Path | None = None,
) -> None:
    """Score a checkpoint on cases that its training never saw.

    Args:
        checkpoint: what ``train`` wrote.
        cases: what ``ingest`` wrote.
        splits: what ``split`` wrote.
        training: the report of ``train``: its curves are drawn, and the scores are logged
            to its MLflow run.
        out: folder to write: metrics.json, cases.csv, test_set.json, report.html, figures.
        params: tolerances, and how many cases are drawn.
        fold: whose validation cases are scored, for cross-validation with a training that
            chose nothing by them; None scores the test cases.
        masks: folder to write every predicted mask to, as <case>.nii.gz; None keeps none.

    Raises:
        ParamsError: there is no such fold.
    """
    ids = held_out(splits, fold)
    predict, contract = load(checkpoint)
    tolerances = {str(name): value for name, value in params.nsd_mm.items()}
    scores: dict[str, dict[str, Row]] = {}
    with new_folder(out) as folder, _kept(masks) as kept:
        figures = folder / "figures"
        figures.mkdir()
        for trial in run_trials(cases, ids, predict, contract, nsd_mm=tolerances):
            scores[trial.case] = trial.scores
            _draw(trial, figures)
            if kept:
                write_mask(trial.predicted, kept / f"{trial.case}.nii.gz")
            print(f"evaluate: {trial.case}  {_shown(trial.scores)}")
        rows = list(scores.values())
        summary: Summary = summarize(rows) | {"definitions": {**dice_definitions(rows)}}
        pictures = _keep_worst(scores, figures, params.figures)
        (folder / "metrics.json").write_text(json.dumps(summary, indent=1) + "\n")
        (folder / "test_set.json").write_text(
            json.dumps({"cases": ids, "sha256": test_set_hash(cases, ids), "nsd_mm": tolerances})
        )
        (folder / "report.html").write_text(evaluation_page(summary, scores, pictures))
        write_cases(scores, folder / "cases.csv")
        losses, validations = (read_curve(training / f"{name}.csv") for name in CURVES)
        draw_learning(losses, validations, figures / LEARNING)
        _log(summary, folder, training)


def held_out(splits: Path, fold: int | None) -> list[str]:
    """The cases to score: of the test set, or those that a fold left out of its training.

    Raises:
        ParamsError: there is no such fold.
    """
    known = json.loads(splits.read_text())
    if fold is None:
        return list(known["test"])
    if not 0 <= fold < len(known["folds"]):
        raise ParamsError(f"evaluate: fold must be below {len(known['folds'])}, got {fold}")
    return list(known["folds"][fold]["validation"])


@contextmanager
def _kept(masks: Path | None) -> Iterator[Path | None]:
    """The folder that masks go to, where any are kept."""
    if masks is None:
        yield None
        return
    with new_folder(masks) as folder:
        yield folder


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


def _log(summary: Summary, folder: Path, training: Path) -> None:
    with same_run(json.loads((training / "run.json").read_text())["run_id"]):
        for name, row in summary.items():
            mlflow.log_metrics(
                {f"test_{name}_{key}": value for key, value in row.items() if value is not None}
            )
        mlflow.log_artifacts(str(folder), "evaluate")
