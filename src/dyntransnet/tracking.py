"""MLflow: every run, and the registry that models are served from.

``MLFLOW_TRACKING_URI`` is honored; without it a sqlite store in the project's folder is used.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID

from dyntransnet.atomic import check_writable
from dyntransnet.errors import ModelError
from dyntransnet.lineage import MANIFEST_TAG, SOURCE_TAG, DataVersion, origin, project_folder

DEFAULT_STORE = "mlflow.db"
ARTIFACTS = "mlartifacts"
MANIFEST = "data/manifest.json"
"""The artifact of a run that says case by case what data it saw."""

SYSTEM_METRICS_INTERVAL_S = 5

NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
"""What MLflow says of a run, model or alias it does not have; all else is a failure."""


def connect() -> MlflowClient:
    """Point MLflow at the store and return a client for it."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(store_uri())
    _make_tables(store_uri())
    return MlflowClient()


@cache
def _make_tables(uri: str) -> None:
    """Of a new sqlite store: two processes that both make them leave neither with a store."""
    if _sqlite_file() is None:
        return
    with _alone():
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)


@contextmanager
def _alone() -> Iterator[None]:
    """No other process is in here with the same sqlite store; a server has no such lock."""
    file = _sqlite_file()
    if file is None:
        yield
        return
    check_writable(file)
    with FileLock(f"{file}.lock"):
        yield


def _sqlite_file() -> Path | None:
    """The store's file; None for a server."""
    prefix, uri = "sqlite:///", store_uri()
    return Path(uri.removeprefix(prefix)).resolve() if uri.startswith(prefix) else None


def store_uri() -> str:
    """Where runs and models are kept."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_folder() / DEFAULT_STORE}"


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
    with _alone():
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


def log_data(run_id: str, version: DataVersion, manifest: bytes) -> None:
    """Say in a run, and in the study's run above it, which data it saw.

    Args:
        run_id: of the training.
        version: becomes MLflow's dataset of both runs.
        manifest: what ``ingest`` wrote; becomes the run's artifact ``MANIFEST``.
    """
    client = connect()
    dataset = Dataset(
        version.name,
        version.digest,
        source_type="dvc",
        source=json.dumps(version.tags()),
        profile=json.dumps({"num_rows": version.cases}),
    )
    seen = [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])]
    study = client.get_run(run_id).data.tags.get(MLFLOW_PARENT_RUN_ID)
    for each in filter(None, (run_id, study)):
        client.log_inputs(each, seen)
    client.log_text(run_id, manifest.decode(), MANIFEST)


def _exists(client: MlflowClient, run_id: str) -> bool:
    try:
        client.get_run(run_id)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        return False
    return True


def _experiment_id(client: MlflowClient, name: str) -> str:
    with _alone():
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            return str(client.create_experiment(name, artifact_location=_artifact_location()))
        except mlflow.exceptions.MlflowException:
            made = client.get_experiment_by_name(name)  # by another machine, meanwhile
            if made is None:
                raise
            return str(made.experiment_id)


def _artifact_location() -> str | None:
    """Beside a local sqlite store; a server decides for itself."""
    file = _sqlite_file()
    return None if file is None else (file.parent / ARTIFACTS).as_uri()


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

    It says what data its run saw, as the run does.

    Returns:
        The version's number.
    """
    try:
        client.create_registered_model(model)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    seen = client.get_run(run_id).data.tags
    data = {name: seen[name] for name in (MANIFEST_TAG, SOURCE_TAG) if name in seen}
    version = client.create_model_version(model, source, run_id=run_id, tags={**data, **tags})
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
