"""Segment held-out scans as serving would, and score them on their own grids."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow

from dyntransnet.atomic import new_folder
from dyntransnet.config import EvaluateParams
from dyntransnet.contract import Contract
from dyntransnet.errors import ParamsError
from dyntransnet.imaging.fingerprint import read_fingerprint
from dyntransnet.imaging.scan import write_mask
from dyntransnet.runtimes.torch_runtime import load
from dyntransnet.scoring.calibration import Reliability, calibrate, summarize_calibration
from dyntransnet.scoring.figures import draw_overlay
from dyntransnet.scoring.headline import Metrics, flat, headline
from dyntransnet.scoring.metrics import ScoredCase
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.records import read_curve, write_bins, write_dices
from dyntransnet.scoring.report.contents import Contents, Learning, Model, Picture, choose_cases
from dyntransnet.scoring.results import write_results
from dyntransnet.scoring.summary import HOW, summarize_cases
from dyntransnet.scoring.trial import Trial, run_trials, test_set_hash
from dyntransnet.tracking import same_run

CURVES = ("loss", "validation")
FIGURES = "figures"


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
        out: folder to write: metrics.json for ``dvc metrics``, summary.json with all
            numbers, cases.csv, lesions.csv, dice.csv and calibration/ for ``dvc plots``,
            test_set.json, figures/ and report.html.
        params: tolerances, and how many cases are drawn.
        fold: whose validation cases are scored, for cross-validation with a training that
            chose nothing by them; None scores the test cases.
        masks: folder to write every predicted mask to, as <case>.nii.gz; None keeps none.

    Raises:
        ParamsError: there is no such fold, or no case in what was asked for.
        ModelError: the checkpoint is incomplete or damaged.
    """
    ids, patient_of = held_out(splits, fold), json.loads(splits.read_text())["patients"]
    (predict, contract), seen = load(checkpoint), read_fingerprint(checkpoint)
    tolerances = {str(name): value for name, value in params.nsd_mm.items()}
    scored: dict[str, ScoredCase] = {}
    bins: dict[str, dict[str, Reliability]] = {name: {} for name in CLASSES}
    with new_folder(out) as folder, _kept(masks) as kept:
        (folder / FIGURES).mkdir()
        for trial in run_trials(cases, ids, predict, contract, nsd_mm=tolerances):
            scored[trial.case] = trial.scored
            for name, found in calibrate(trial.probabilities, trial.truth).items():
                bins[name][trial.case] = found
            _draw(trial, folder / FIGURES, contract)
            if kept:
                write_mask(trial.predicted, kept / f"{trial.case}.nii.gz")
            print(f"evaluate: {trial.case}  {_shown(trial.scored)}")
        sha256 = test_set_hash(cases, ids)
        losses, validations = (read_curve(training / f"{name}.csv") for name in CURVES)
        facts = json.loads((training / "run.json").read_text())
        contents = Contents(
            cases=scored,
            summary=summarize_cases(scored, patient_of),
            nsd_mm=tolerances,
            pictures=_keep_some(scored, folder / FIGURES, params.figures),
            learning=Learning(losses, validations),
            calibration={
                name: summarize_calibration(of_class, patient_of, HOW)
                for name, of_class in bins.items()
            },
            model=Model(contract, facts, seen, sha256),
        )
        test_set = {"cases": ids, "sha256": sha256, "nsd_mm": tolerances}
        metrics = _write(contents, test_set, folder)
        _log(metrics, folder, facts["run_id"])


def held_out(splits: Path, fold: int | None) -> list[str]:
    """The cases to score: of the test set, or those that a fold left out of its training.

    Raises:
        ParamsError: there is no such fold, or nothing in it.
    """
    known = json.loads(splits.read_text())
    if fold is not None and not 0 <= fold < len(known["folds"]):
        raise ParamsError(f"evaluate: fold must be below {len(known['folds'])}, got {fold}")
    ids = list(known["test"] if fold is None else known["folds"][fold]["validation"])
    if not ids:
        where = "the test set" if fold is None else f"fold {fold}"
        raise ParamsError(f"evaluate: {where} of {splits} must hold cases, got none")
    return ids


@contextmanager
def _kept(masks: Path | None) -> Iterator[Path | None]:
    """The folder that masks go to, where any are kept."""
    if masks is None:
        yield None
        return
    with new_folder(masks) as folder:
        yield folder


def _draw(trial: Trial, figures: Path, contract: Contract) -> None:
    draw_overlay(
        trial.scan,
        trial.predicted,
        figures / f"{trial.case}.png",
        truth=trial.truth,
        title=f"{trial.case}: Dice {_shown(trial.scored)}",
        modality=contract.modality,
    )


def _keep_some(scored: Mapping[str, ScoredCase], figures: Path, count: int) -> list[Picture]:
    """Of the pictures of all cases those that a reader must see."""
    dices = {
        case: {name: float(row["dice"]) for name, row in one.rows.items()}
        for case, one in scored.items()
    }
    chosen = choose_cases({case: [*found.values()] for case, found in dices.items()}, count)
    for case in dices.keys() - chosen.keys():
        (figures / f"{case}.png").unlink()
    return [
        Picture(case, rank, dices[case], (figures / f"{case}.png").read_bytes())
        for case, rank in chosen.items()
    ]


def _shown(scored: ScoredCase) -> str:
    return "  ".join(f"{name} {scored.rows[name]['dice']:.3f}" for name in CLASSES)


def _write(contents: Contents, test_set: Mapping[str, Any], folder: Path) -> Metrics:
    """Every file but the figures; what stands in metrics.json."""
    calibration = contents.calibration or {}
    metrics = headline(contents.cases, contents.summary, calibration)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    (folder / "test_set.json").write_text(json.dumps(test_set))
    write_dices({case: one.rows for case, one in contents.cases.items()}, folder / "dice.csv")
    (folder / "calibration").mkdir()
    for name, found in calibration.items():
        write_bins(found.pooled.rows(), folder / "calibration" / f"{name}.csv")
    write_results(contents, {"cases": len(contents.cases)}, folder)
    return metrics


def _log(metrics: Metrics, folder: Path, run_id: str) -> None:
    with same_run(run_id):
        mlflow.log_metrics(flat(metrics, "test_"))
        mlflow.log_artifacts(str(folder), "evaluate")
