import csv
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from caches import SMALL, params_of, save_workspace, train_params
from dyntransnet.atomic import sha256_of
from dyntransnet.config import PreprocessParams
from dyntransnet.contract import Contract, IntensityWindow, IntensityZScore
from dyntransnet.errors import ModelError, ParamsError, TrainingError
from dyntransnet.learning import loop
from dyntransnet.learning.checkpoint import WEIGHTS_FILE, load_state
from dyntransnet.learning.cohort import Cohort
from dyntransnet.learning.processes import Team
from dyntransnet.runtimes.torch_runtime import load, load_network
from dyntransnet.stages import train
from dyntransnet.stages.train import _contract as contract_of
from dyntransnet.stages.train import run
from models import flip_a_bit

pytestmark = pytest.mark.usefixtures("one_thread")

PRECISIONS = [{}, {"precision": "bf16", "channels_last": True}]
STEPS_SAVED, STEPS_SEEN = 3, 5
ALONE = Team(torch.device("cpu"))

KILLED = f"""
import os, signal, sys
sys.path[:0] = sys.argv[2:]
from caches import params_of
from dyntransnet.learning import loop
from test_train import trained_in
untouched, calls = loop.augment, []
def augment(*batch):
    calls.append(batch)
    if len(calls) == {STEPS_SEEN}:
        os.kill(os.getpid(), signal.SIGKILL)
    return untouched(*batch)
loop.augment = augment
trained_in(sys.argv[1], params_of())
"""


def trained_in(root, params, study=None) -> Path:
    """Train on the workspace there."""
    root = Path(root)
    run(
        root / "cache",
        root / "splits.json",
        root / "manifest.json",
        out=root / "checkpoint",
        report=root / "report",
        resume=root / "resume",
        network=params.network,
        params=params.train,
        study=study or {},
    )
    return root


def stopped_in(root: Path, params, monkeypatch) -> None:
    """Training that is interrupted two steps after it was saved."""
    answers = [loop.augment] * (STEPS_SEEN - 1)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "augment", lambda *batch: answers.pop()(*batch))
        with pytest.raises(IndexError, match="pop from empty"):
            trained_in(root, params)


def killed_in(root: Path) -> None:
    """The same by SIGKILL, in a process of its own."""
    places = [str(Path(__file__).parents[up]) for up in (0, 1)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(root), *places],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def contract_in(root: Path) -> Contract:
    """What a run in the workspace promises."""
    params = params_of()
    return train._contract(root / "cache", root / "manifest.json", params.network, params.train)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def weights_hash(root: Path) -> str:
    return sha256_of(root / "checkpoint" / WEIGHTS_FILE)


def runs(root: Path) -> list:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(train_params().experiment)
    return client.search_runs([experiment.experiment_id])


@pytest.fixture
def workspace(workplace):
    return save_workspace(workplace)


@pytest.fixture(scope="module")
def trained(one_thread, empty_store, tmp_path_factory) -> Path:
    """A workspace in which training ran once, undisturbed."""
    root = save_workspace(tmp_path_factory.mktemp("trained"))
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
        patch.chdir(root)
        return trained_in(root, params_of())


@pytest.mark.parametrize("changes", PRECISIONS, ids=str)
def test_a_stopped_run_goes_on_to_the_weights_of_one_that_was_not(
    workspace, changes, monkeypatch, capsys
):
    params, report = params_of(**changes), workspace / "report"
    expected = weights_hash(trained_in(workspace, params)), rows(report / "loss.csv")
    stopped_in(workspace, params, monkeypatch)
    trained_in(workspace, params)
    assert f"going on after step {STEPS_SAVED}" in capsys.readouterr().out
    assert (weights_hash(workspace), rows(report / "loss.csv")) == expected


def test_a_killed_run_leaves_no_checkpoint_and_goes_on_in_its_mlflow_run(trained, workspace):
    killed_in(workspace)
    assert not any((workspace / name).exists() for name in ("checkpoint", "report"))
    trained_in(workspace, params_of())
    (only,) = runs(workspace)
    assert json.loads((workspace / "report/run.json").read_text())["run_id"] == only.info.run_id
    assert only.info.status == "FINISHED"
    assert weights_hash(workspace) == weights_hash(trained)
    assert rows(workspace / "report/validation.csv") == rows(trained / "report/validation.csv")


def test_the_same_seed_gives_the_same_weights_and_another_others(trained, workspace):
    assert weights_hash(trained_in(workspace, params_of())) == weights_hash(trained)
    assert weights_hash(trained_in(workspace, params_of(seed=8))) != weights_hash(trained)


def test_another_run_does_not_go_on_with_a_stopped_one(workspace, monkeypatch, capsys):
    stopped_in(workspace, params_of(), monkeypatch)
    trained_in(workspace, params_of(learning_rate=1e-3))
    assert "going on" not in capsys.readouterr().out
    assert len(runs(workspace)) == 2


def test_a_finished_run_leaves_no_state_behind(trained):
    assert list((trained / "resume").iterdir()) == []


def test_the_checkpoint_carries_its_contract(trained):
    root, params = trained, params_of()
    predict, contract = load(root / "checkpoint")
    assert contract.network.options == SMALL
    assert contract.spacing_mm == (2.0, 3.0, 2.5)
    assert (contract.intensity.low_hu, contract.intensity.high_hu) == (-160, 240)
    assert contract.patch_size == params.train.patch_size
    assert contract.manifest_sha256 == sha256_of(root / "manifest.json")
    window = torch.zeros(2, 1, *contract.patch_size).numpy()
    assert predict(window).shape == (2, 2, *contract.patch_size)


def test_a_contract_says_what_kind_of_scan_its_cache_was_made_of(tmp_path):
    rule = IntensityZScore(percentiles=(0.5, 99.5), deviations=3)
    grid = PreprocessParams(spacing_mm=(2.0, 3.0, 2.5), intensity=rule)
    (tmp_path / "grid.json").write_text(grid.model_dump_json())
    (tmp_path / "manifest.json").write_text("{}")
    params = params_of()
    contract = contract_of(tmp_path, tmp_path / "manifest.json", params.network, params.train)
    assert (contract.modality, contract.intensity) == ("MR", rule)


def test_a_contract_says_along_which_axes_training_mirrored(tmp_path):
    rule = IntensityWindow(low_hu=-160, high_hu=240)
    grid = PreprocessParams(spacing_mm=(2.0, 3.0, 2.5), intensity=rule)
    (tmp_path / "grid.json").write_text(grid.model_dump_json())
    (tmp_path / "manifest.json").write_text("{}")
    params = params_of()
    augment = params.train.augment.model_copy(update={"flip_axes": ("x", "z")})
    mirroring = params.train.model_copy(update={"augment": augment})
    contract = contract_of(tmp_path, tmp_path / "manifest.json", params.network, mirroring)
    assert contract.mirrored_axes == ("x", "z")


def test_the_checkpoint_carries_the_fingerprint_of_its_dataset(trained):
    found = json.loads((trained / "checkpoint" / "fingerprint.json").read_text())
    assert found == json.loads((trained / "manifest.json").read_text())["fingerprint"]


def test_mlflow_knows_what_was_trained_on_what(trained):
    root, params = trained, params_of()
    (found,) = runs(root)
    assert found.data.params["train.steps"] == "6"
    assert found.data.params["train.augment.noise"] == str(params.train.augment.noise)
    assert found.data.params["network.name"] == "dyntransnet_tiny"
    assert found.data.tags["manifest_sha256"] == sha256_of(root / "manifest.json")
    assert {"git_commit", "git_dirty", "dvc_lock_sha256"} <= set(found.data.tags)
    assert found.data.tags["source_md5"] == "none"  # there is no dvc.lock here
    (seen,) = found.inputs.dataset_inputs
    assert (seen.dataset.name, seen.dataset.digest) == (
        "lits",
        sha256_of(root / "manifest.json")[:10],
    )


def test_mlflow_holds_the_curves_of_the_report(trained):
    root = trained
    (found,) = runs(root)
    (loss,) = rows(root / "report/loss.csv")
    assert (loss["step"], float(loss["loss"])) == ("6", found.data.metrics["loss"])
    validations = rows(root / "report/validation.csv")
    assert [row["step"] for row in validations] == ["3", "6"]
    assert float(validations[-1]["dice_liver"]) == found.data.metrics["validation_dice_liver"]
    assert (root / "mlartifacts" / found.info.run_id / "artifacts/train/loss.csv").is_file()


def test_the_best_weights_are_kept(workspace, monkeypatch):
    scores = [{"liver": 0.4, "tumor": 0.2}, {"liver": 0.3, "tumor": 0.25}]
    monkeypatch.setattr(loop, "validate", Mock(side_effect=scores))
    trained_in(workspace, params_of(keep="best"))
    assert json.loads((workspace / "report/run.json").read_text())["kept_step"] == 3
    best = weights_hash(workspace)
    monkeypatch.setattr(loop, "validate", Mock(side_effect=scores[::-1]))
    assert weights_hash(trained_in(workspace, params_of(keep="best"))) != best


def test_fold_all_trains_on_everyone_and_keeps_the_last_weights(workspace):
    splits = json.loads((workspace / "splits.json").read_text())
    splits["folds"][1] = {"train": ["volume-1", "volume-2"], "validation": ["volume-0"]}
    (workspace / "splits.json").write_text(json.dumps(splits))
    cohort = Cohort.open(workspace / "cache", workspace / "splits.json", "all")
    assert [case.id for case in cohort.train] == ["volume-0", "volume-1", "volume-2"]
    trained_in(workspace, params_of(fold="all"))
    assert json.loads((workspace / "report/run.json").read_text())["kept_step"] == 6
    assert [row["dice_liver"] for row in rows(workspace / "report/validation.csv")] == ["", ""]


def test_a_fold_names_who_trains_and_who_validates(workspace):
    cohort = Cohort.open(workspace / "cache", workspace / "splits.json", 1)
    assert [case.id for case in cohort.train] == ["volume-0", "volume-1"]
    assert [case.id for case in cohort.validation] == ["volume-2"]


def test_a_fold_that_is_not_there_is_refused(workspace):
    with pytest.raises(ParamsError, match=r"^train\.fold: must be below 2 or 'all', got 2$"):
        trained_in(workspace, params_of(fold=2))
    assert not (workspace / "checkpoint").exists()


def test_the_loss_falls(workspace, monkeypatch):
    monkeypatch.setattr(loop, "LOSS_EVERY", 5)
    trained_in(workspace, params_of(steps=25, validate_every=25, learning_rate=5e-3))
    losses = [float(row["loss"]) for row in rows(workspace / "report/loss.csv")]
    assert len(losses) == 5
    assert losses[-1] < 0.8 * losses[0]


def test_the_last_weights_are_kept_where_that_is_wanted(workspace, monkeypatch):
    scores = [{"liver": 0.4, "tumor": 0.2}, {"liver": 0.3, "tumor": 0.2}]
    monkeypatch.setattr(loop, "validate", Mock(side_effect=scores))
    trained_in(workspace, params_of(keep="last"))
    assert json.loads((workspace / "report/run.json").read_text())["kept_step"] == 6
    last = weights_hash(workspace)
    monkeypatch.setattr(loop, "validate", Mock(side_effect=scores[::-1]))
    assert weights_hash(trained_in(workspace, params_of(keep="last"))) == last


def test_a_run_of_a_study_is_a_child_of_the_studys_run(workspace):
    for seed in (1, 2):
        tags = {"study": "networks", "variant": "full", "seed": str(seed), "fold": "0"}
        trained_in(workspace, params_of(seed=seed), tags)
    *children, parent = sorted(runs(workspace), key=lambda run: "is_study" in run.data.tags)
    assert parent.info.run_name == parent.data.tags["is_study"] == "networks"
    assert {run.info.run_name for run in children} == {"full seed 1 fold 0", "full seed 2 fold 0"}
    for child in children:
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_the_report_says_what_training_took(trained):
    found = json.loads((trained / "report/run.json").read_text())
    network = load_network(trained / "checkpoint", Contract.load(trained / "checkpoint"))
    assert found["steps"] == 6
    assert found["parameters"] == sum(weight.numel() for weight in network.parameters())
    assert 0 < found["budget_minutes"] < 5
    assert 0 < found["busy_share"] < 1
    assert found["peak_memory_mib"] > 50
    (logged,) = runs(trained)
    assert logged.data.metrics["training_busy_share"] == pytest.approx(found["busy_share"])


def test_a_budget_sets_the_number_of_steps_and_is_kept_when_resumed(workspace, monkeypatch, capsys):
    monkeypatch.setattr(train, "steps_within", lambda *_: 7)
    params = params_of(steps=None, budget_minutes=0.25)
    stopped_in(workspace, params, monkeypatch)
    assert "train: 7 steps fit into 0.25 minutes" in capsys.readouterr().out
    monkeypatch.setattr(train, "steps_within", lambda *_: 99)
    trained_in(workspace, params)
    assert json.loads((workspace / "report/run.json").read_text())["steps"] == 7


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_what_was_saved(workspace, monkeypatch):
    losses = iter([1.0] * 4 + [math.nan] + [1.0] * 9)
    real = loop.supervise
    monkeypatch.setattr(loop, "supervise", lambda *a: real(*a) * next(losses))
    rule = (
        r"^train: the loss must stay finite, got nan at step 5, on windows of volume-\d, volume-\d"
    )
    with pytest.raises(TrainingError, match=rule):
        trained_in(workspace, params_of())
    assert not (workspace / "checkpoint").exists()
    (saved,) = (workspace / "resume").iterdir()
    state = loop.start_state(contract_in(workspace), train_params(), ALONE)
    assert load_state(state, saved).step == STEPS_SAVED
    assert all(weight.isfinite().all() for weight in state.network.parameters())


def test_a_patch_the_network_cannot_divide_is_refused_before_any_work(workspace):
    rule = r"^train\.patch_size: must be multiples of 4 for dyntransnet_tiny, got \(12, 18, 16\)$"
    with pytest.raises(ParamsError, match=rule):
        trained_in(workspace, params_of(patch_size=(12, 18, 16)))
    assert not (workspace / "resume").exists()


def test_training_cases_without_any_tumor_are_refused(workspace):
    for case in ("volume-0", "volume-1"):
        np.save(workspace / "cache" / case / "tumor.npy", np.zeros((0, 3), np.int16))
    rule = r"^train\.fold: some training case must have a tumor, got none in fold 0: volume-0, vol"
    with pytest.raises(ParamsError, match=rule):
        trained_in(workspace, params_of())
    assert not (workspace / "resume").exists()


def test_a_damaged_state_is_refused_by_name(workspace, monkeypatch):
    stopped_in(workspace, params_of(), monkeypatch)
    (saved,) = (workspace / "resume").iterdir()
    flip_a_bit(saved)
    with pytest.raises(ModelError, match=rf"{saved.name}: sha256 must be .* is damaged$"):
        trained_in(workspace, params_of())
    assert saved.exists()
