"""MLflow: every run, and the registry that models are served from.

``MLFLOW_TRACKING_URI`` is honored; without it a sqlite store in the project's folder is used.
"""

import hashlib
import logging
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from dyntransnet.errors import ModelError

DEFAULT_STORE = "mlflow.db"
ARTIFACTS = "mlartifacts"

LOCK_FILE = Path("dvc.lock")
SYSTEM_METRICS_INTERVAL_S = 5

NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
"""What MLflow says of a run, model or alias it does not have; all else is a failure."""


def connect() -> MlflowClient:
    """Point MLflow at the store and return a client for it."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(store_uri())
    return MlflowClient()


def store_uri() -> str:
    """Where runs and models are kept."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_project() / DEFAULT_STORE}"


def _project() -> Path:
    """The folder that DVC keeps, whichever of its folders a stage runs in; else this one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


@contextmanager
def training_run(
    experiment: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    *,
    name: str,
    run_id: str | None,
) -> Iterator[str]:
    """A run with parameters, origin and system metrics; an interrupted one goes on.

    Args:
        experiment: its name; made if new.
        params: nested sections; logged flat, as ``section.key``.
        tags: more to know the run by; ``study`` puts it under that study's run.
        name: how a person finds it; several runs may have one name.
        run_id: a run to go on with.

    Yields:
        The run's id.
    """
    client = connect()
    mlflow.set_system_metrics_sampling_interval(SYSTEM_METRICS_INTERVAL_S)
    known = run_id if run_id and _exists(client, run_id) else None
    with mlflow.start_run(
        run_id=known,
        experiment_id=_experiment_id(client, experiment),
        run_name=name,
        log_system_metrics=True,
    ) as run:
        if not known:
            mlflow.log_params(dict(_flat(params)))
        mlflow.set_tags({**origin(), **tags, **_parent(client, experiment, tags.get("study"))})
        yield run.info.run_id


def study_run(client: MlflowClient, experiment: str, study: str) -> str:
    """The run that a study's trainings are children of; made by the first of them."""
    where = _experiment_id(client, experiment)
    found = client.search_runs([where], f"tags.is_study = '{study}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    return str(client.create_run(where, run_name=study, tags={"is_study": study}).info.run_id)


def _parent(client: MlflowClient, experiment: str, study: str | None) -> dict[str, str]:
    if study is None:
        return {}
    return {MLFLOW_PARENT_RUN_ID: study_run(client, experiment, study)}


@contextmanager
def same_run(run_id: str) -> Iterator[None]:
    """Log into a run that an earlier stage started."""
    connect()
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        yield


def origin() -> dict[str, str]:
    """What code and data a run came from: git commit and the hash of dvc.lock."""
    lock = LOCK_FILE.read_bytes() if LOCK_FILE.is_file() else b""
    return {
        "git_commit": _git("rev-parse", "HEAD") or "none",
        "git_dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower(),
        "dvc_lock_sha256": hashlib.sha256(lock).hexdigest(),
    }


def _git(*command: str) -> str:
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _exists(client: MlflowClient, run_id: str) -> bool:
    try:
        client.get_run(run_id)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        return False
    return True


def _experiment_id(client: MlflowClient, name: str) -> str:
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=_artifact_location()))


def _artifact_location() -> str | None:
    """Beside a local sqlite store; a server decides for itself."""
    prefix = "sqlite:///"
    if not store_uri().startswith(prefix):
        return None
    return (Path(store_uri().removeprefix(prefix)).resolve().parent / ARTIFACTS).as_uri()


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def register_version(
    client: MlflowClient, model: str, *, source: str, run_id: str, tags: Mapping[str, str]
) -> str:
    """Add a version to a registered model, which is made if new.

    Returns:
        The version's number.
    """
    try:
        client.create_registered_model(model)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(model, source, run_id=run_id, tags=dict(tags))
    return str(version.version)


def alias_version(client: MlflowClient, model: str, alias: str) -> ModelVersion | None:
    """The version an alias points to, or None; a store that cannot tell raises."""
    try:
        return client.get_model_version_by_alias(model, alias)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        return None


def download(client: MlflowClient, version: ModelVersion, folder: Path) -> Path:
    """Fetch a registered version's files.

    Raises:
        ModelError: the store cannot give them.
    """
    try:
        uri = client.get_model_version_download_uri(version.name, str(version.version))
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        named = f"{version.name} version {version.version}"
        raise ModelError(f"{named}: must be readable from the registry, got {error}") from error
