import json
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from dyntransnet import tracking
from dyntransnet.atomic import sha256_of
from dyntransnet.errors import ModelError, OutputError
from dyntransnet.lineage import DataVersion
from dyntransnet.tracking import (
    alias_version,
    connect,
    download,
    log_data,
    register_version,
    same_run,
    store_uri,
    training_run,
)

AT_ONCE = """
import sys
from dyntransnet.tracking import training_run
print("ready", flush=True)
sys.stdin.readline()
with training_run("made", {}, {"study": "networks"}, name="made", run_id=None):
    pass
"""

MANIFEST = json.dumps({"layout": "msd", "cases": [{"id": "liver_1"}, {"id": "liver_2"}]}).encode()
VERSION = DataVersion.of(MANIFEST, b"")

PARAMS = {"train": {"steps": 3, "augment": {"noise": 0.5}}, "network": {"name": "made"}}


def git(*command: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    done = subprocess.run(["git", *identity, *command], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def register(folder: Path, *, name: str = "liver") -> str:
    folder.mkdir()
    (folder / "weights").write_bytes(b"1234")
    with training_run("made", {}, {}, name="made", run_id=None) as run_id:
        mlflow.log_artifacts(str(folder), "model")
        source = mlflow.get_artifact_uri("model")
    return register_version(connect(), name, source=source, run_id=run_id, tags={"gate": "passed"})


def started(folder: Path) -> subprocess.Popen:
    """A process that is about to train there, and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", AT_ONCE], cwd=folder, text=True,
        env=os.environ | {"MLFLOW_TRACKING_URI": "", "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "0"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


def trained(*, study: str | None = None) -> str:
    """A run that saw VERSION."""
    tags = {**VERSION.tags(), **({"study": study} if study else {})}
    with training_run("made", {}, tags, name="made", run_id=None) as run_id:
        log_data(run_id, VERSION, MANIFEST)
    return run_id


def inputs_of(run_id: str) -> list[tuple[str, str]]:
    """Name and digest of the datasets that MLflow shows."""
    found = connect().get_run(run_id).inputs.dataset_inputs
    return [(each.dataset.name, each.dataset.digest) for each in found]


def test_the_store_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example.org:5000")
    assert store_uri() == "http://tracking.example.org:5000"


@pytest.mark.parametrize("value", [None, ""])
def test_the_store_is_a_file_in_the_working_directory_otherwise(monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if value is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
    assert store_uri() == f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.mark.parametrize("uri", ["sqlite:///{}/mlflow.db", "sqlite:///mlflow.db"])
def test_artifacts_lie_beside_the_store_wherever_a_later_stage_runs(workplace, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(workplace))
    with training_run("made", {}, {}, name="made", run_id=None):
        place = mlflow.get_artifact_uri()
    assert place.startswith((workplace / "mlartifacts").as_uri())


def test_a_server_decides_itself_where_artifacts_lie(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example.org:5000")
    assert tracking._artifact_location() is None


def test_a_run_holds_flat_params_tags_and_an_end(workplace):
    with training_run("made", PARAMS, {"network": "made"}, name="made", run_id=None) as run_id:
        mlflow.log_metric("loss", 0.5, step=2)
    run = connect().get_run(run_id)
    assert run.data.params == {
        "train.steps": "3", "train.augment.noise": "0.5", "network.name": "made"
    }  # fmt: skip
    assert run.data.tags["network"] == "made"
    assert run.data.metrics["loss"] == 0.5
    assert run.info.status == "FINISHED"


def test_a_run_measures_the_machine(workplace, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "5")  # put back afterwards
    monkeypatch.setattr(tracking, "SYSTEM_METRICS_INTERVAL_S", 0.05)
    until = time.monotonic() + 10
    with training_run("made", {}, {}, name="made", run_id=None) as run_id:
        while not (found := connect().get_run(run_id).data.metrics) and time.monotonic() < until:
            time.sleep(0.05)
    assert "system/cpu_utilization_percentage" in found


def test_a_run_knows_its_commit_and_data(workplace):
    git("init", "--quiet")
    Path("dvc.lock").write_text("locked")
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "start")
    assert tracking.origin() == {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": "false",
        "dvc_lock_sha256": sha256_of(Path("dvc.lock")),
    }
    Path("dvc.lock").write_text("changed")
    assert tracking.origin()["git_dirty"] == "true"


def test_without_git_and_dvc_a_run_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert tracking.origin()["git_commit"] == "none"
    monkeypatch.setenv("PATH", "")
    assert tracking.origin()["git_commit"] == "none"


def test_a_failed_run_says_so_and_goes_on_when_asked(workplace):
    with (
        pytest.raises(KeyError, match="stop"),
        training_run("made", PARAMS, {}, name="made", run_id=None) as run_id,
    ):
        raise KeyError("stop")
    assert connect().get_run(run_id).info.status == "FAILED"
    with training_run("made", PARAMS, {}, name="made", run_id=run_id) as same:
        assert same == run_id
    assert connect().get_run(run_id).info.status == "FINISHED"


def test_a_run_that_another_store_held_starts_anew(workplace):
    with training_run("made", PARAMS, {}, name="made", run_id="0" * 32) as run_id:
        assert run_id != "0" * 32


def test_a_later_stage_logs_into_the_run(workplace):
    with training_run("made", PARAMS, {}, name="made", run_id=None) as run_id:
        pass
    with same_run(run_id):
        mlflow.log_metric("dice", 0.5)
    assert connect().get_run(run_id).data.metrics["dice"] == 0.5


def test_versions_are_counted_and_an_alias_names_one(workplace):
    assert [register(workplace / name) for name in ("a", "b")] == ["1", "2"]
    client = connect()
    assert alias_version(client, "liver", "champion") is None
    assert alias_version(client, "lung", "champion") is None
    client.set_registered_model_alias("liver", "champion", "2")
    assert str(alias_version(client, "liver", "champion").version) == "2"


def test_a_store_that_fails_is_not_taken_for_one_without_a_champion(workplace, monkeypatch):
    failing = Mock(side_effect=MlflowException("connection refused"))
    monkeypatch.setattr(MlflowClient, "get_model_version_by_alias", failing)
    with pytest.raises(MlflowException, match="connection refused"):
        alias_version(connect(), "liver", "champion")


def test_a_store_that_fails_does_not_make_a_stopped_run_start_anew(workplace, monkeypatch):
    failing = Mock(side_effect=MlflowException("connection refused"))
    monkeypatch.setattr(MlflowClient, "get_run", failing)
    with (
        pytest.raises(MlflowException, match="connection refused"),
        training_run("made", {}, {}, name="made", run_id="1"),
    ):
        pass


def test_a_version_gives_its_files_back(workplace):
    version, client = register(workplace / "a"), connect()
    (workplace / "there").mkdir()
    folder = download(client, client.get_model_version("liver", version), workplace / "there")
    assert folder.is_relative_to(workplace / "there")
    assert (folder / "weights").read_bytes() == b"1234"


def test_a_version_whose_files_are_gone_is_named(workplace):
    version, client = register(workplace / "a"), connect()
    (workplace / "mlartifacts").rename(workplace / "elsewhere")
    with pytest.raises(ModelError, match="liver version 1: must be readable from the registry, "):
        download(client, client.get_model_version("liver", version), workplace)


def test_trainings_that_start_at_once_share_a_new_store(tmp_path):
    """Takes seconds: both processes import MLflow, and one of them makes the store's tables."""
    processes = [started(tmp_path) for _ in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (made,) = [each for each in client.search_experiments() if each.name == "made"]
    runs = client.search_runs([made.experiment_id])
    (study,) = [run for run in runs if "is_study" in run.data.tags]
    parents = [run.data.tags.get("mlflow.parentRunId") for run in runs if run is not study]
    assert parents == [study.info.run_id] * 2


def test_an_experiment_that_another_machine_makes_meanwhile_is_used(workplace, monkeypatch):
    client = connect()
    made = client.create_experiment("made")
    answers = [None, client.get_experiment(made)]
    monkeypatch.setattr(client, "get_experiment_by_name", lambda name: answers.pop(0))
    assert tracking._experiment_id(client, "made") == made


def test_a_store_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'file/mlflow.db'}")
    with pytest.raises(OutputError, match=r"file/mlflow\.db: its folder must be writable, got "):
        connect()


def test_a_run_shows_the_data_it_saw(workplace):
    run_id = trained()
    assert inputs_of(run_id) == [("msd", VERSION.manifest_sha256[:10])]
    where = [connect().get_run(run_id).info.experiment_id]
    (run,) = connect().search_runs(where, f"dataset.digest = '{VERSION.digest}'")
    (seen,) = run.inputs.dataset_inputs
    assert json.loads(seen.dataset.source) == VERSION.tags()
    assert json.loads(seen.dataset.profile) == {"num_rows": 2}
    assert [(tag.key, tag.value) for tag in seen.tags] == [("mlflow.data.context", "training")]
    stored = mlflow.artifacts.load_text(f"runs:/{run_id}/data/manifest.json")
    assert stored.encode() == MANIFEST


def test_a_run_that_goes_on_shows_its_data_once(workplace):
    run_id = trained()
    with training_run("made", {}, VERSION.tags(), name="made", run_id=run_id):
        log_data(run_id, VERSION, MANIFEST)
    assert len(inputs_of(run_id)) == 1


def test_a_study_shows_what_its_trainings_saw(workplace):
    runs = [trained(study="networks") for _ in range(2)]
    (parent,) = {connect().get_run(each).data.tags["mlflow.parentRunId"] for each in runs}
    assert inputs_of(parent) == [("msd", VERSION.digest)]


def test_a_registered_model_says_what_its_training_saw(workplace):
    run_id, client = trained(), connect()
    version = register_version(
        client, "liver", source="made", run_id=run_id, tags={"gate": "passed"}
    )
    assert client.get_model_version("liver", version).tags == {"gate": "passed", **VERSION.tags()}
