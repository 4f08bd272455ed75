from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pytest
from registry import CASES, PARAMS

from dyntransnet.atomic import sha256_of
from dyntransnet.contract import CONTRACT_FILE, ONNX_FILE, Contract
from dyntransnet.errors import ModelError, QualityGateError
from dyntransnet.runtimes.choice import load
from dyntransnet.scoring.trial import run_trials
from dyntransnet.stages import register
from dyntransnet.tracking import download
from models import flip_a_bit

ELSEWHERE = "0" * 64
"""Hash of a test set that is not here."""


def files_of(bench, version: int, folder: str) -> Path:
    (bench.root / folder).mkdir()
    return download(bench.client, bench.version(version), bench.root / folder)


def test_the_first_model_that_passes_becomes_champion(bench):
    receipt = bench.register((0.9, 0.7))
    sha256 = sha256_of(bench.root / "model/onnx" / ONNX_FILE)
    assert receipt == {
        "model": "liver",
        "version": "1",
        "refused": [],
        "alias": "champion",
        "champion": {"version": "1", "model_sha256": sha256},
    }
    assert bench.champion() == 1


def test_a_version_says_what_it_is_and_where_it_came_from(bench):
    run_id = bench.train()
    bench.register((0.9, 0.7), run_id=run_id)
    found, contract = bench.version(1), Contract.load(bench.root / "model/onnx")
    assert found.run_id == run_id
    assert found.tags["gate"] == "passed"
    assert (found.tags["dice_liver"], found.tags["dice_tumor"]) == ("0.9", "0.7")
    assert found.tags["test_set_sha256"] == bench.test_set()
    assert found.tags["model_sha256"] == contract.model_sha256
    assert found.tags["manifest_sha256"] == contract.manifest_sha256
    assert {"git_commit", "dvc_lock_sha256", "network"} <= set(found.tags)


def test_the_registry_holds_the_bytes_that_passed_parity(bench):
    bench.register((0.9, 0.7))
    folder, exported = files_of(bench, 1, "found"), bench.root / "model/onnx"
    for name in (ONNX_FILE, CONTRACT_FILE):
        assert (folder / name).read_bytes() == (exported / name).read_bytes()
    assert (folder / "parity.json").is_file()


def test_mlflow_itself_can_load_a_version(bench):
    bench.register((0.9, 0.7), low=0.3)
    model = mlflow.onnx.load_model("models:/liver@champion")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    image = np.full((1, 1, 16, 16, 16), 0.8, np.float32)
    (logits,) = session.run(None, {"image": image})
    np.testing.assert_allclose(logits[0, :, 0, 0, 0], [0.5, 0.08], atol=1e-6)


def test_a_better_model_takes_the_alias(bench):
    bench.register((0.9, 0.7))
    receipt = bench.register((0.92, 0.69), name="better", low=0.17)
    assert (receipt["version"], receipt["champion"]["version"]) == ("2", "2")
    assert bench.champion() == 2
    assert receipt["champion"]["model_sha256"] == sha256_of(bench.root / "better/onnx" / ONNX_FILE)


def test_a_worse_model_is_registered_without_the_alias_and_says_why(bench, capsys):
    bench.register((0.9, 0.7))
    receipt = bench.register((0.95, 0.6), name="worse", low=0.17)
    rule = (
        "Dice tumor must not fall by more than 0.02, got 0.7000 -> 0.6000 and -0.1000 in volume-0, "
        "the worst of 2 (below 6 patients the worst counts)"
    )
    assert receipt["refused"] == [rule]
    assert receipt["champion"]["version"] == "1"
    assert bench.version(2).tags["gate"] == rule
    assert bench.champion() == 1
    assert f"liver version 2 refused ({rule})" in capsys.readouterr().out


def test_a_first_model_that_is_not_good_enough_is_an_error_and_leaves_no_receipt(bench):
    rule = (
        r"^liver version 1: Dice liver must be at least 0\.6, got 0\.5000; Dice tumor must be at "
        r"least 0\.4, got 0\.3000; registered without the alias champion, and no earlier version"
    )
    with pytest.raises(QualityGateError, match=rule):
        bench.register((0.5, 0.3))
    assert bench.version(1).tags["gate"].startswith("Dice liver must be at least")
    assert not (bench.root / "registered.json").exists()


def test_a_refused_first_model_does_not_stand_in_the_way_of_a_good_one(bench):
    with pytest.raises(QualityGateError, match="version 1"):
        bench.register((0.5, 0.5))
    assert bench.register((0.7, 0.5), name="good", low=0.17)["champion"]["version"] == "2"


def test_the_same_bytes_are_one_version_with_the_latest_verdict(bench):
    bench.register((0.9, 0.7))
    receipt = bench.register((0.91, 0.71))
    assert receipt["version"] == "1"
    assert bench.version(1).tags["dice_liver"] == "0.91"
    assert len(bench.client.search_model_versions("name = 'liver'")) == 1


def test_what_was_made_for_openvino_is_registered_with_the_network(bench):
    bench.register((0.9, 0.7), openvino=("fp32", "bf16"))
    folder, exported = files_of(bench, 1, "found"), bench.root / "model/onnx"
    names = sorted(path.name for path in (exported / "openvino").iterdir())
    assert len(names) == 5
    for name in names:
        registered = folder / "openvino" / name
        assert registered.read_bytes() == (exported / "openvino" / name).read_bytes()
    assert bench.version(1).tags["openvino_sha256"] == sha256_of(
        exported / "openvino/openvino.json"
    )


def test_other_files_for_openvino_make_another_version(bench):
    assert bench.register((0.9, 0.7))["version"] == "1"
    assert bench.register((0.9, 0.7), openvino=("fp32",))["version"] == "2"
    assert bench.register((0.9, 0.7), openvino=("fp32",))["version"] == "2"
    assert not (files_of(bench, 1, "first") / "openvino").exists()
    assert (files_of(bench, 2, "second") / "openvino/fp32.bin").is_file()


def test_two_exports_of_one_run_keep_their_own_files(bench):
    run_id = bench.train()
    bench.register((0.9, 0.7), run_id=run_id)
    bench.register((0.9, 0.7), run_id=run_id, name="again", low=0.17)
    for version in (1, 2):
        folder = files_of(bench, version, f"found-{version}")
        assert sha256_of(folder / ONNX_FILE) == bench.version(version).tags["model_sha256"]


def test_a_champion_tested_elsewhere_is_scored_on_these_scans(bench, capsys):
    """It claims a Dice that no challenger could reach."""
    bench.register((1.0, 1.0), test_set=ELSEWHERE, low=0.5)
    predict, contract = load(bench.root / "model/onnx", "onnxruntime")
    trials = [*run_trials(bench.root / "cases", CASES, predict, contract)]
    theirs = max(trial.scores["liver"]["dice"] for trial in trials)
    lenient = PARAMS.model_copy(update={"min_dice_liver": 0.0})

    worse = bench.register((theirs - 0.03, 1.0), name="worse", low=0.17, params=lenient)
    assert "scoring champion version 1 on these test scans too" in capsys.readouterr().out
    (rule,) = worse["refused"]
    assert rule.startswith("Dice liver must not fall by more than 0.02, got ")
    assert " and -0.0300 in volume-" in rule
    good = bench.register((theirs - 0.01, 1.0), name="good", low=0.16, params=lenient)
    assert good["refused"] == []


def test_a_champion_tested_on_these_scans_is_not_scored_again(bench, capsys):
    bench.register((0.9, 0.7))
    bench.register((0.91, 0.7), name="better", low=0.17)
    told = capsys.readouterr().out
    assert "scoring champion" not in told
    assert "register: gate passed; liver 0.9000 -> 0.9100" in told


def test_scores_stay_with_the_version_that_had_them(bench):
    """The tags of a version tell of its latest evaluation, the files of its first."""
    bench.register((0.9, 0.7), test_set=ELSEWHERE)
    bench.register((0.9, 0.7))
    assert bench.version(1).tags["test_set_sha256"] == bench.test_set()
    assert ELSEWHERE in (files_of(bench, 1, "found") / "test_set.json").read_text()


def test_patients_with_several_scans_are_judged_once(bench, monkeypatch):
    bench.register((0.9, 0.7))
    one = dict.fromkeys(CASES, "somebody")
    monkeypatch.setattr(register, "read_patients", lambda path, cases: one)
    (rule,) = bench.register((0.9, 0.6), name="worse", low=0.17)["refused"]
    assert rule.endswith("in somebody, the worst of 1 (below 6 patients the worst counts)")


def test_a_slower_model_is_refused_and_the_same_one_is_not_timed(bench, monkeypatch):
    monkeypatch.setattr(register, "slowdown", lambda old, new: 1.7)
    strict = PARAMS.model_copy(update={"max_slowdown": 1.5})
    bench.register((0.9, 0.7), params=strict)
    assert bench.register((0.91, 0.7), params=strict)["refused"] == []
    assert bench.register((0.9, 0.7), name="slow", low=0.17, params=strict)["refused"] == [
        "a scan must take at most 1.5 times the baseline's seconds, got 1.70"
    ]


def test_a_champion_that_cannot_be_scored_is_named(bench):
    bench.register((0.9, 0.7), test_set=ELSEWHERE)
    (damaged,) = (bench.root / "mlartifacts").rglob(ONNX_FILE)
    flip_a_bit(damaged)
    with pytest.raises(ModelError, match=r"model\.onnx: sha256 must be "):
        bench.register((0.9, 0.7), name="other", low=0.17)


def test_a_champion_chosen_by_hand_is_the_one_to_beat(bench):
    bench.register((0.9, 0.7))
    bench.register((0.99, 0.99), name="better", low=0.17)
    bench.client.set_registered_model_alias("liver", "champion", "1")
    receipt = bench.register((0.91, 0.7), name="third", low=0.16)
    assert receipt["champion"]["version"] == "3"


def test_a_champion_that_was_registered_by_hand_is_scored_and_can_stay(bench):
    bench.register((0.9, 0.7), low=0.17)
    bench.client.create_model_version("liver", bench.version(1).source)
    bench.client.set_registered_model_alias("liver", "champion", "2")
    receipt = bench.register((0.0, 0.0), name="worse", low=0.3)
    assert receipt["champion"] == {"version": "2", "model_sha256": None}


def test_requirements_of_a_version_are_what_runs_it(bench):
    bench.register((0.9, 0.7))
    listed = (files_of(bench, 1, "found") / "requirements.txt").read_text()
    assert {line.split("==")[0] for line in listed.split()} == {"mlflow", "onnx", "onnxruntime"}
