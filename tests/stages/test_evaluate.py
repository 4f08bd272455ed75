"""Evaluation of a network whose masks are known: bright voxels are liver, the brightest tumor."""

import json
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from pydantic import ValidationError

from builders import case_of, contract_of
from dyntransnet.config import EvaluateParams
from dyntransnet.errors import ParamsError
from dyntransnet.imaging.scan import read_mask, read_scan, write_mask, write_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.scoring import trial
from dyntransnet.scoring.definitions import DEFINITIONS
from dyntransnet.scoring.metrics import score_case
from dyntransnet.scoring.records import read_cases
from dyntransnet.stages import evaluate
from dyntransnet.tracking import connect

CASES = [f"volume-{number}" for number in range(4)]
NSD_MM = {"liver": 3.0, "tumor": 2.0}
PARAMS = EvaluateParams(figures=1, nsd_mm=NSD_MM)
CONTRACT = contract_of()


def bright(windows: np.ndarray) -> np.ndarray:
    return np.concatenate([9 * windows, 9 * (windows - 0.5)], axis=1)


@pytest.fixture
def place(workplace: Path, monkeypatch) -> Path:
    for seed, name in enumerate(CASES):
        scan, mask = case_of(seed=seed)
        write_scan(scan, workplace / "cases" / name / trial.SCAN_FILE)
        write_mask(mask, workplace / "cases" / name / trial.MASK_FILE)
    folds = [{"train": CASES[1:2], "validation": CASES[:1]},
             {"train": CASES[:1], "validation": CASES[1:3]}]  # fmt: skip
    (workplace / "splits.json").write_text(json.dumps({"test": CASES[3:], "folds": folds}))
    training = workplace / "training"
    training.mkdir()
    (training / "loss.csv").write_text("step,loss\n20,0.9\n40,0.7\n")
    (training / "validation.csv").write_text("step,dice_liver,dice_tumor\n40,0.5,\n")
    client = connect()
    run = client.create_run(client.create_experiment("made"))
    (training / "run.json").write_text(json.dumps({"run_id": run.info.run_id}))
    monkeypatch.setattr(evaluate, "load", lambda checkpoint: (bright, CONTRACT))
    return workplace


def evaluated(place: Path, **options) -> Path:
    evaluate.run(
        place / "checkpoint", place / "cases", place / "splits.json", place / "training",
        out=place / "scores", params=PARAMS, **options,
    )  # fmt: skip
    return place / "scores"


@pytest.mark.parametrize(("fold", "cases"), [(None, CASES[3:]), (0, CASES[:1]), (1, CASES[1:3])])
def test_only_what_was_held_out_is_scored(place, fold, cases):
    scores = evaluated(place, fold=fold)
    assert list(read_cases(scores / "cases.csv")) == cases
    assert json.loads((scores / "test_set.json").read_text())["cases"] == cases


@pytest.mark.parametrize("fold", [2, -1])
def test_a_fold_that_is_not_there_is_refused(place, fold):
    with pytest.raises(ParamsError, match=f"evaluate: fold must be below 2, got {fold}"):
        evaluated(place, fold=fold)
    assert not (place / "scores").exists()


def test_scores_are_those_of_the_masks_that_serving_would_give(place):
    case = place / "cases" / CASES[3]
    predicted = segment(read_scan(case / trial.SCAN_FILE), bright, CONTRACT)
    expected = score_case(read_mask(case / trial.MASK_FILE), predicted, NSD_MM)
    found = read_cases(evaluated(place) / "cases.csv")[CASES[3]]
    for name, row in expected.items():
        assert {column: found[name][column] for column in row} == pytest.approx(row, abs=1e-6)
    assert 0.3 < expected["tumor"]["dice"] < 1


def test_the_summary_holds_both_classes_and_every_definition(place):
    metrics = json.loads((evaluated(place, fold=1) / "metrics.json").read_text())
    assert set(metrics["definitions"]) == set(DEFINITIONS)
    assert metrics["liver"]["dice"] == pytest.approx(metrics["definitions"]["dice_whole_liver"])
    assert metrics["liver"]["hd95_mm"] > 0
    assert metrics["tumor"]["no_surface"] == 0


def test_scores_name_the_tolerances_they_were_taken_at(place):
    assert json.loads((evaluated(place) / "test_set.json").read_text())["nsd_mm"] == NSD_MM


def test_masks_are_kept_where_one_asks_for_them(place):
    evaluated(place, fold=1, masks=place / "masks")
    assert sorted(path.name for path in (place / "masks").iterdir()) == [
        f"{case}.nii.gz" for case in CASES[1:3]
    ]
    scores = read_cases(place / "scores/cases.csv")
    for case in CASES[1:3]:
        truth = read_mask(place / "cases" / case / trial.MASK_FILE)
        again = score_case(truth, read_mask(place / "masks" / f"{case}.nii.gz"))
        assert again["tumor"]["dice"] == pytest.approx(scores[case]["tumor"]["dice"], abs=1e-6)


def test_masks_are_kept_nowhere_else(place):
    evaluated(place)
    assert not list(place.glob("**/volume-3.nii.gz"))


def test_the_run_that_trained_gets_the_scores(place):
    metrics = json.loads((evaluated(place) / "metrics.json").read_text())
    run_id = json.loads((place / "training/run.json").read_text())["run_id"]
    logged = MlflowClient().get_run(run_id).data.metrics
    assert logged["test_tumor_dice"] == pytest.approx(metrics["tumor"]["dice"])
    assert logged["test_liver_hd95_mm"] == pytest.approx(metrics["liver"]["hd95_mm"])
    assert "test_definitions_dice_tumor_pooled" in logged


def test_the_worst_cases_are_drawn(place):
    scores = evaluated(place, fold=1)
    dices = read_cases(scores / "cases.csv")
    worst = min(CASES[1:3], key=lambda case: sum(row["dice"] for row in dices[case].values()))
    assert {path.name for path in (scores / "figures").iterdir()} == {
        "learning.png", f"{worst}.png",
    }  # fmt: skip


def test_a_tolerance_is_needed_for_both_classes():
    with pytest.raises(ValidationError, match="liver and tumor must both be given"):
        EvaluateParams(figures=1, nsd_mm={"liver": 3.0})
