"""Train a network on the cache; the loop itself is ``learning.loop.fit``.

A stopped run goes on where it was when the same parameters, data and code version
ask for it again; its batches and augmentations are drawn from (seed, step) alone.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow
import torch

from dyntransnet.atomic import new_folder, sha256_of
from dyntransnet.config import PreprocessParams, TrainParams
from dyntransnet.contract import Contract, NetworkSpec
from dyntransnet.learning.checkpoint import (
    Point,
    Progress,
    TrainingState,
    copied,
    load_state,
    resume_key,
    save_checkpoint,
)
from dyntransnet.learning.cohort import Cohort
from dyntransnet.learning.loop import Log, fit, start_state, steps_within
from dyntransnet.learning.memory import check_fits, peak_bytes
from dyntransnet.learning.processes import Team, joined
from dyntransnet.lineage import DataVersion, read_lock
from dyntransnet.networks.registry import check_sizes
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.tracking import log_data, training_run

CODE = Path(__file__).parents[1]


def run(
    cache: Path,
    splits: Path,
    manifest: Path,
    *,
    out: Path,
    report: Path,
    resume: Path,
    network: NetworkSpec,
    params: TrainParams,
    study: Mapping[str, str],
) -> None:
    """Train, alone or as one of torchrun's processes.

    Args:
        cache: what ``preprocess`` wrote.
        splits: what ``split`` wrote.
        manifest: what ``ingest`` wrote; its hash enters the contract.
        out: checkpoint folder to write: averaged weights, their contract, the dataset's
            fingerprint.
        report: folder to write: curves, and which MLflow run this was.
        resume: folder for the state of a stopped run.
        network: which one.
        params: how.
        study: tags of a run that is one of many; its ``study`` names the MLflow run above it.
    """
    with joined() as team:
        team.check_divides(params)
        cohort = Cohort.open(cache, splits, params.fold)
        check_sizes(network, params.patch_size, params.tile)
        contract = _contract(cache, manifest, network, params)
        check_fits(contract.network, params, team)
        key = resume_key(params, network, contract, splits.read_text(), _code_hash(), team.size)
        state, saved = start_state(contract, params, team), resume / f"{key}.safetensors"
        progress = _start(state, saved, contract, cohort, params, team)
        with _tracked(progress, network, params, manifest, team, study) as log:
            fit(state, progress, cohort, params, team, saved=saved, log=log)
            if team.leads:
                _write_report(progress, state, params, team, report)
        if team.leads:
            seen = json.loads(manifest.read_text()).get("fingerprint")
            save_checkpoint(chosen_weights(state, params), contract, out, fingerprint=seen)
            saved.unlink(missing_ok=True)


def chosen_weights(state: TrainingState, params: TrainParams) -> dict[str, torch.Tensor]:
    """Those that validated best, or the last where that is wanted or nobody validated."""
    if params.keep == "best" and state.best:
        return state.best
    return copied(state.average)


def _start(
    state: TrainingState,
    saved: Path,
    contract: Contract,
    cohort: Cohort,
    params: TrainParams,
    team: Team,
) -> Progress:
    """From the beginning, or from where a killed run was last saved."""
    if saved.exists():
        progress = load_state(state, saved)
        if team.leads:
            print(f"train: going on after step {progress.step} of a run that was stopped")
        return progress
    if params.steps is not None:
        return Progress(run_id="", steps=params.steps)
    steps = steps_within(params.budget_minutes or 0.0, contract, cohort, params, team)
    if team.leads:
        print(f"train: {steps} steps fit into {params.budget_minutes:g} minutes")
    return Progress(run_id="", steps=steps)


@contextmanager
def _tracked(
    progress: Progress,
    network: NetworkSpec,
    params: TrainParams,
    manifest: Path,
    team: Team,
    study: Mapping[str, str],
) -> Iterator[Log]:
    """The leader's curves and data go to MLflow, those of the others nowhere."""
    if not team.leads:
        yield lambda values, step: None
        return
    sections = {"train": params.model_dump(), "network": network.model_dump()}
    data = manifest.read_bytes()
    version = DataVersion.of(data, read_lock())
    tags = {**version.tags(), "network": network.name, **study}
    with training_run(
        params.experiment, sections, tags, name=_run_name(network, study), run_id=progress.run_id
    ) as progress.run_id:
        log_data(progress.run_id, version, data)
        yield lambda values, step: mlflow.log_metrics(dict(values), step=step)


def _run_name(network: NetworkSpec, study: Mapping[str, str]) -> str:
    """How a person finds the run in MLflow."""
    if not study:
        return network.name
    return f"{study['variant']} seed {study['seed']} fold {study['fold']}"


def _contract(cache: Path, manifest: Path, network: NetworkSpec, params: TrainParams) -> Contract:
    """What this run will promise; the weights' hash is signed in when they are saved."""
    grid = PreprocessParams.model_validate_json((cache / "grid.json").read_text())
    return Contract(
        network=network,
        modality=grid.intensity.modality,
        spacing_mm=grid.spacing_mm,
        patch_size=params.tile,
        intensity=grid.intensity,
        overlap=params.overlap,
        mirrored_axes=params.augment.flip_axes,
        manifest_sha256=sha256_of(manifest),
        model_sha256="",
    )


def _code_hash() -> str:
    """Another version of the code is another run."""
    sources = sorted(CODE.rglob("*.py"))
    return resume_key([(str(path.relative_to(CODE)), sha256_of(path)) for path in sources])


def _write_report(
    progress: Progress, state: TrainingState, params: TrainParams, team: Team, report: Path
) -> None:
    """Curves, and a summary that goes to MLflow as well."""
    is_best = params.keep == "best" and state.best
    taken = progress.taken
    summary = {
        "steps": progress.step,
        "kept_step": progress.best_step if is_best else progress.step,
        "parameters": sum(weight.numel() for weight in state.network.parameters()),
        "budget_minutes": taken.budget_s / 60,
        "steps_per_second": progress.step / taken.steps_s,
        "busy_share": taken.busy_share,
        "peak_memory_mib": peak_bytes(team.device) / 2**20,
    }
    mlflow.log_metrics({f"training_{name}": float(value) for name, value in summary.items()})
    with new_folder(report) as folder:
        _write_csv(progress.losses, ["step", "loss"], folder / "loss.csv")
        names = [f"dice_{name}" for name in CLASSES]
        _write_csv(progress.scores, ["step", *names], folder / "validation.csv")
        text = json.dumps({"run_id": progress.run_id, **summary}, indent=1)
        (folder / "run.json").write_text(text)
    mlflow.log_artifacts(str(report), "train")


def _write_csv(rows: Sequence[Point], names: list[str], path: Path) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
