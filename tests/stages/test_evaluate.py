"""Evaluation of a network whose masks are known: bright voxels are liver, the brightest tumor."""

import base64
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from pydantic import ValidationError

from builders import case_of, contract_of
from dyntransnet.config import EvaluateParams
from dyntransnet.contract import FINGERPRINT_FILE
from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.imaging.fingerprint import fingerprint_of, traits_of
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import read_mask, read_scan, write_mask, write_scan
from dyntransnet.imaging.segment import probability_map, segment
from dyntransnet.scoring import scorecard, trial
from dyntransnet.scoring.calibration import calibrate
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
    splits = {"test": CASES[3:], "folds": folds, "patients": {case: case for case in CASES}}
    (workplace / "splits.json").write_text(json.dumps(splits))
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


def test_where_nothing_was_held_out_nothing_is_written(place):
    splits = json.loads((place / "splits.json").read_text())
    (place / "splits.json").write_text(json.dumps({**splits, "test": []}))
    with pytest.raises(
        ParamsError, match=r"evaluate: the test set of .* must hold cases, got none"
    ):
        evaluated(place)
    assert not (place / "scores").exists()


def test_scores_are_those_of_the_masks_that_serving_would_give(place):
    case = place / "cases" / CASES[3]
    predicted = segment(read_scan(case / trial.SCAN_FILE), bright, CONTRACT)
    expected = score_case(read_mask(case / trial.MASK_FILE), predicted, NSD_MM)
    found = read_cases(evaluated(place) / "cases.csv")[CASES[3]]
    for name, row in expected.items():
        assert {column: found[name][column] for column in row} == pytest.approx(row, abs=1e-6)
    assert 0.3 < expected["tumor"]["dice"] < 1


def test_metrics_hold_what_one_compares(place):
    metrics = json.loads((evaluated(place, fold=1) / "metrics.json").read_text())
    assert set(metrics["definitions"]) == set(DEFINITIONS)
    assert metrics["liver"]["dice"] == pytest.approx(metrics["definitions"]["dice_whole_liver"])
    assert metrics["intervals"]["liver"]["dice"]["mean"] == pytest.approx(metrics["liver"]["dice"])
    assert metrics["liver"]["hd95_mm"] > 0
    assert metrics["tumor"]["no_surface"] == 0
    assert 0 < metrics["calibration"]["tumor"]["brier"] < metrics["calibration"]["tumor"]["ece"] < 1


def test_tables_and_summary_are_those_of_score(place):
    scores = evaluated(place, fold=1, masks=place / "masks")
    for case in CASES[1:3]:
        truth = place / "cases" / case / trial.MASK_FILE
        (place / "truth").mkdir(exist_ok=True)
        shutil.copyfile(truth, place / "truth" / f"{case}.nii.gz")
    scorecard.run(place / "truth", place / "masks", out=place / "again", nsd_mm=NSD_MM)
    for name in ("cases.csv", "lesions.csv"):
        assert (scores / name).read_text() == (place / "again" / name).read_text()
    ours, theirs = (json.loads((each / "summary.json").read_text()) for each in
                    (scores, place / "again"))  # fmt: skip
    assert ours.keys() >= {"scores", "lesions", "definitions", "counts"}
    assert {key: ours[key] for key in ours.keys() & theirs.keys()} == {
        key: theirs[key] for key in ours.keys() & theirs.keys()
    }


def test_calibration_is_that_of_the_probabilities_behind_the_mask(place):
    case, scores = place / "cases" / CASES[3], evaluated(place)
    found = probability_map(read_scan(case / trial.SCAN_FILE), bright, CONTRACT)
    for name, one in calibrate(found, read_mask(case / trial.MASK_FILE)).items():
        rows = [*csv.DictReader((scores / f"calibration/{name}.csv").read_text().splitlines())]
        assert sum(int(row["voxels"]) for row in rows) == one.n > 1000
        told = json.loads((scores / "summary.json").read_text())["calibration"][name]
        assert (told["ece"], told["brier"]) == pytest.approx((one.ece, one.brier))
        assert (told["cases"], told["patients"], told["voxels"]) == (1, 1, one.n)


def test_scans_of_one_patient_count_once(place):
    splits = json.loads((place / "splits.json").read_text())
    whose = {**splits["patients"], CASES[2]: CASES[1]}
    (place / "splits.json").write_text(json.dumps({**splits, "patients": whose}))
    summary = json.loads((evaluated(place, fold=1) / "summary.json").read_text())
    assert (summary["cases"], summary["patients"]) == (2, 1)
    assert summary["scores"]["liver"]["dice"]["n"] == 1


def test_the_page_shows_all_there_is_and_names_no_place(place):
    save_fingerprint(place)
    scores = evaluated(place, fold=1)
    page = (scores / "report.html").read_text()
    for caption in ("Pictures", "Calibration", "Learning", "Model card", "Geometry, livers"):
        assert caption in page
    assert json.loads((place / "training/run.json").read_text())["run_id"] in page
    for file in (scores / "figures").iterdir():
        assert base64.b64encode(file.read_bytes()).decode() in page
    for word in ("scan.nii", "mask.nii", str(place), place.name, "checkpoint/"):
        assert word not in page


def save_fingerprint(place: Path) -> Path:
    scan, mask = case_of()
    seen = fingerprint_of([traits_of(scan, mask, measure(mask), is_trusted=True)], "CT")
    path = place / "checkpoint" / FINGERPRINT_FILE
    path.parent.mkdir()
    path.write_text(seen.model_dump_json())
    return path


def test_a_damaged_fingerprint_is_refused_before_any_work(place):
    save_fingerprint(place).write_text('{"modality": "CT", "cases": 0}')
    with pytest.raises(ModelError, match=r"fingerprint.json: cases is not valid, Input should be"):
        evaluated(place)
    assert not (place / "scores").exists()


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
    assert logged["test_calibration_liver_ece"] == metrics["calibration"]["liver"]["ece"]
    files = {file.path for file in MlflowClient().list_artifacts(run_id, "evaluate")}
    assert "evaluate/report.html" in files


def test_the_worst_cases_are_drawn(place):
    scores = evaluated(place, fold=1)
    dices = read_cases(scores / "cases.csv")
    worst = min(CASES[1:3], key=lambda case: sum(row["dice"] for row in dices[case].values()))
    assert [path.name for path in (scores / "figures").iterdir()] == [f"{worst}.png"]
    assert f"Worst case</b>: {worst}" in (scores / "report.html").read_text()


def test_a_tolerance_is_needed_for_both_classes():
    with pytest.raises(ValidationError, match="liver and tumor must both be given"):
        EvaluateParams(figures=1, nsd_mm={"liver": 3.0})
