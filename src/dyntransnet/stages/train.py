"""Train a network on the cache, in one visible loop.

A stopped run goes on where it was when the same parameters, data and code version
ask for it again; its batches and augmentations are drawn from (seed, step) alone.
"""

import copy
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from torch import nn

from dyntransnet.atomic import new_folder, sha256_of
from dyntransnet.config import Params, PreprocessParams, TrainParams
from dyntransnet.contract import Contract, IntensityWindow, NetworkSpec
from dyntransnet.errors import ParamsError
from dyntransnet.imaging.intensity import AIR
from dyntransnet.imaging.tiling import predict_tiled
from dyntransnet.learning.augment import augment, margin_for
from dyntransnet.learning.checkpoint import (
    Point,
    Progress,
    TrainingState,
    load_state,
    resume_key,
    save_checkpoint,
    save_state,
)
from dyntransnet.learning.crops import CachedCase, batches
from dyntransnet.learning.loss import dice_bce, targets_of
from dyntransnet.learning.schedule import average_into, learning_rate, parameter_groups
from dyntransnet.networks.registry import build
from dyntransnet.scoring.metrics import CLASSES, dice
from dyntransnet.tracking import training_run

LOSS_EVERY = 20
"""Steps whose mean loss makes one point of the curve."""

CODE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cohort:
    """Who trains and who validates."""

    train: list[CachedCase]
    validation: list[CachedCase]

    @classmethod
    def open(cls, cache: Path, splits: Path, fold: int | str) -> "Cohort":
        """Map a fold's cases; fold "all" trains on every one and validates on none.

        Raises:
            ParamsError: there is no such fold.
        """
        folds = json.loads(splits.read_text())["folds"]
        if fold == "all":
            train, validation = sorted({case for part in folds for case in part["train"]}), []
        elif int(fold) < len(folds):
            train, validation = folds[int(fold)]["train"], folds[int(fold)]["validation"]
        else:
            raise ParamsError(f"train.fold: must be below {len(folds)} or 'all', got {fold}")
        opened = [[CachedCase.open(cache / case) for case in part] for part in (train, validation)]
        return cls(*opened)


def run(
    cache: Path,
    splits: Path,
    manifest: Path,
    *,
    out: Path,
    report: Path,
    resume: Path,
    params: Params,
) -> None:
    """Train, and keep the averaged weights that validate best.

    Args:
        cache: what ``preprocess`` wrote.
        splits: what ``split`` wrote.
        manifest: what ``ingest`` wrote; its hash enters the contract.
        out: checkpoint folder to write.
        report: folder to write: curves, and which MLflow run this was.
        resume: folder for the state of a stopped run.
        params: the sections train and network.
    """
    cohort = Cohort.open(cache, splits, params.train.fold)
    contract = _contract(cache, manifest, params)
    key = resume_key(params.train, params.network, contract, splits.read_text(), _code_hash())
    state, device = start_state(contract, params.train)
    saved, progress = resume / f"{key}.safetensors", Progress(run_id="")
    if saved.exists():
        progress = load_state(state, saved)
        print(f"train: going on after step {progress.step} of a run that was stopped")
    sections = {"train": params.train.model_dump(), "network": params.network.model_dump()}
    origin = {"manifest_sha256": contract.manifest_sha256, "network": params.network.name}
    with training_run(params.train.experiment, sections, origin, progress.run_id) as run_id:
        progress.run_id = run_id
        fit(state, progress, cohort, params.train, device, saved)
        _write_report(progress, report)
        mlflow.log_artifacts(str(report), "train")
    save_checkpoint(state.best, contract, out)
    saved.unlink(missing_ok=True)


def start_state(contract: Contract, params: TrainParams) -> tuple[TrainingState, torch.device]:
    """A fresh network with its average and optimizer, the same for the same seed."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.manual_seed(params.seed)
    layout = torch.channels_last_3d if params.channels_last else torch.contiguous_format
    network = build(contract.network).to(device)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks it
    optimizer = torch.optim.AdamW(
        parameter_groups(network, params.weight_decay), lr=params.learning_rate
    )
    return TrainingState(network, copy.deepcopy(network), {}, optimizer), device


def fit(
    state: TrainingState,
    progress: Progress,
    cohort: Cohort,
    params: TrainParams,
    device: torch.device,
    saved: Path,
) -> None:
    """Run the steps that are left; the best averaged weights end up in ``state.best``."""
    network = state.network.train()
    windows = batches(
        cohort.train,
        params,
        edge=margin_for(params.patch_size, params.augment),
        first=progress.step,
    )
    bar, task = _progress_bar(params.steps, progress.step)
    with bar:
        for step, (image, label) in zip(range(progress.step, params.steps), windows, strict=False):
            chance = torch.Generator().manual_seed(params.seed * 1_000_003 + step)
            image, label = augment(
                image.to(device), label.to(device), params.patch_size, params.augment, chance
            )
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate(step, params)
            with _autocast(device, params):
                logits = network(image)
            loss = dice_bce(logits, targets_of(label))
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), params.gradient_clip)
            state.optimizer.step()
            average_into(state.average, network, step, params.ema_decay)

            progress.recent.append(float(loss.detach()))
            progress.step = step + 1
            if progress.step % LOSS_EVERY == 0 or progress.step == params.steps:
                _note_loss(progress)
            if progress.step % params.validate_every == 0 or progress.step == params.steps:
                scores = validate(state.average, cohort.validation, params, device)
                _note_scores(state, progress, scores)
                save_state(state, progress, saved)
                bar.console.print(_line(progress, params))
            bar.update(task, completed=progress.step, shown=_shown(progress))


def validate(
    network: nn.Module, cases: Sequence[CachedCase], params: TrainParams, device: torch.device
) -> dict[str, float]:
    """Mean Dice per class over whole volumes on the network's grid.

    Returns:
        Classes that no case has are left out; nothing for no cases.
    """

    @torch.inference_mode()
    def predict(batch: np.ndarray) -> np.ndarray:
        with _autocast(device, params):
            logits: np.ndarray = network(torch.from_numpy(batch).to(device)).float().cpu().numpy()
        return logits

    network.eval()
    found: dict[str, list[float]] = {name: [] for name in CLASSES}
    for case in cases:
        volume = case.image.astype(np.float32)
        logits = predict_tiled(
            volume,
            predict,
            classes=len(CLASSES),
            patch_size=params.patch_size,
            overlap=params.overlap,
            padding=AIR,
        )
        inside = logits >= 0
        masks = {"liver": inside[0], "tumor": inside[0] & inside[1]}
        for name, label in CLASSES.items():
            found[name].append(dice(case.label >= label, masks[name]))
    return {
        name: float(np.nanmean(values))
        for name, values in found.items()
        if not np.all(np.isnan(values))
    }


def _contract(cache: Path, manifest: Path, params: Params) -> Contract:
    """What this run will promise; the weights' hash is signed in when they are saved."""
    grid = PreprocessParams.model_validate_json((cache / "grid.json").read_text())
    low, high = grid.window_hu
    return Contract(
        network=NetworkSpec(name=params.network.name, options=params.network.options),
        spacing_mm=grid.spacing_mm,
        patch_size=params.train.patch_size,
        intensity=IntensityWindow(low_hu=low, high_hu=high),
        overlap=params.train.overlap,
        manifest_sha256=sha256_of(manifest),
        model_sha256="",
    )


def _code_hash() -> str:
    """Another version of the code is another run."""
    sources = sorted(CODE.rglob("*.py"))
    return resume_key([(str(path.relative_to(CODE)), sha256_of(path)) for path in sources])


def _autocast(device: torch.device, params: TrainParams) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=params.precision == "bf16")


def _note_loss(progress: Progress) -> None:
    row = {"step": progress.step, "loss": float(np.mean(progress.recent))}
    progress.recent.clear()
    progress.losses.append(row)
    mlflow.log_metric("loss", row["loss"], step=progress.step)


def _note_scores(state: TrainingState, progress: Progress, scores: dict[str, float]) -> None:
    """Keep the averaged weights if they are the best so far; without validation, the last."""
    score = float(np.mean(list(scores.values()))) if scores else float(progress.step)
    named = {f"dice_{name}": value for name, value in scores.items()}
    progress.scores.append({"step": progress.step, **named})
    mlflow.log_metrics(
        {f"validation_{name}": value for name, value in named.items()}, step=progress.step
    )
    if score > progress.best_score:
        progress.best_score, progress.best_step = score, progress.step
        weights = state.average.state_dict()
        state.best.update({name: tensor.detach().cpu().clone() for name, tensor in weights.items()})


def _write_report(progress: Progress, report: Path) -> None:
    with new_folder(report) as folder:
        _write_csv(progress.losses, ["step", "loss"], folder / "loss.csv")
        names = [f"dice_{name}" for name in CLASSES]
        _write_csv(progress.scores, ["step", *names], folder / "validation.csv")
        chosen = {"run_id": progress.run_id, "best_step": progress.best_step}
        (folder / "run.json").write_text(json.dumps(chosen, indent=1))


def _write_csv(rows: Sequence[Point], names: list[str], path: Path) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _progress_bar(steps: int, done: int) -> tuple[ProgressBar, TaskID]:
    bar = ProgressBar(
        TextColumn("train"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[shown]}"),
        TimeRemainingColumn(),
    )
    return bar, bar.add_task("train", total=steps, completed=done, shown="")


def _shown(progress: Progress) -> str:
    loss = f"loss {progress.losses[-1]['loss']:.3f}" if progress.losses else ""
    scores = progress.scores[-1] if progress.scores else {}
    shown = [
        f"{name.removeprefix('dice_')} {v:.3f}" for name, v in scores.items() if name != "step"
    ]
    return "  ".join([loss, *(["Dice " + " ".join(shown)] if shown else [])])


def _line(progress: Progress, params: TrainParams) -> str:
    return f"train: step {progress.step} of {params.steps}  {_shown(progress)}"
