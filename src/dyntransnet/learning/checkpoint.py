"""Weights and training state on disk, as safetensors: no pickle.

A *checkpoint* is a model folder: ``weights.safetensors``, ``contract.json`` and, of the
dataset it learned from, ``fingerprint.json``. The
*resume state* is all a stopped run needs to go on as if it had not stopped.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from dyntransnet.atomic import new_file, new_folder, sha256_of
from dyntransnet.contract import FINGERPRINT_FILE, Contract
from dyntransnet.errors import ModelError
from dyntransnet.learning.clock import Reading

WEIGHTS_FILE = "weights.safetensors"
DIGEST = "sha256"

Point = dict[str, int | float]
"""One point of a curve: its step and what was measured there."""


def save_checkpoint(
    weights: dict[str, torch.Tensor],
    contract: Contract,
    folder: Path,
    *,
    fingerprint: dict[str, Any] | None = None,
) -> None:
    """Write a model folder; its contract gets the weights' hash.

    Args:
        weights: to be saved.
        contract: what they promise.
        folder: to write.
        fingerprint: of the dataset they learned from, where it is known.
    """
    with new_folder(folder) as partial:
        if fingerprint is not None:
            (partial / FINGERPRINT_FILE).write_text(json.dumps(fingerprint, indent=1) + "\n")
        save_file(_contiguous(weights), partial / WEIGHTS_FILE)
        signed = contract.model_copy(update={"model_sha256": sha256_of(partial / WEIGHTS_FILE)})
        signed.save(partial)


def load_weights(folder: Path, contract: Contract) -> dict[str, torch.Tensor]:
    """Read a model folder's weights.

    Raises:
        ModelError: they are missing, or not the ones the contract was signed for.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ModelError(f"{folder}: must hold {WEIGHTS_FILE}, got none")
    if (found := sha256_of(path)) != contract.model_sha256:
        raise ModelError(f"{path}: sha256 must be {contract.model_sha256}, got {found}")
    return load_file(path)


@dataclass
class Progress:
    """How far a run has come, beside its weights.

    Attributes:
        run_id: its MLflow run.
        steps: of the whole run.
        step: steps done.
        best_step: after which the best weights were taken.
        best_score: their validation score.
        recent: losses of the steps since the last mean.
        losses: mean training loss at some steps.
        scores: validation Dice at some steps.
        taken: time, up to where it was saved.
    """

    run_id: str
    steps: int
    step: int = 0
    best_step: int = 0
    best_score: float = -1.0
    recent: list[float] = field(default_factory=list)
    losses: list[Point] = field(default_factory=list)
    scores: list[Point] = field(default_factory=list)
    taken: Reading = field(default_factory=Reading)


@dataclass(frozen=True)
class TrainingState:
    """Everything a stopped run needs; chance is drawn from (seed, step) and needs nothing."""

    network: nn.Module
    average: nn.Module
    best: dict[str, torch.Tensor]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler


def resume_key(*parts: Any) -> str:
    """Names a run by all that decides its outcome: another key is another run."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_state(state: TrainingState, progress: Progress, path: Path) -> None:
    """Write the resume state, replacing the old one only when complete."""
    tensors = {
        **_prefixed("network", state.network.state_dict()),
        **_prefixed("average", state.average.state_dict()),
        **_prefixed("best", state.best),
    }
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= _prefixed(f"optimizer/{index}", moments)
    texts = {"progress": asdict(progress), "scaler": state.scaler.state_dict()}
    tensors = _contiguous(tensors)
    metadata = {name: json.dumps(text) for name, text in texts.items()}
    with new_file(path) as partial:
        save_file(tensors, partial, metadata=metadata | {DIGEST: digest(tensors, metadata)})


def load_state(state: TrainingState, path: Path) -> Progress:
    """Put a saved state back, in place.

    Raises:
        ModelError: the file is cut off, or a bit of it has changed.
    """
    tensors, texts = _read_state(path)
    taken = Reading(**texts["progress"].pop("taken"))
    progress = Progress(**texts["progress"], taken=taken)
    state.scaler.load_state_dict(texts["scaler"])
    state.network.load_state_dict(_under("network", tensors))
    state.average.load_state_dict(_under("average", tensors))
    state.best.update(_under("best", tensors))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under("optimizer", tensors).items():
        index, key = name.split("/")
        moments.setdefault(int(index), {})[key] = tensor
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return progress


def digest(tensors: dict[str, torch.Tensor], texts: dict[str, str]) -> str:
    """SHA-256 of all that a state holds."""
    found = hashlib.sha256(json.dumps(sorted(texts.items())).encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def copied(network: nn.Module) -> dict[str, torch.Tensor]:
    """A network's weights as they are now."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _read_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as stream:
            texts = dict(stream.metadata())
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own bare exception type
        raise ModelError(f"{path}: must be a whole resume state, got {error}") from error
    expected = texts.pop(DIGEST, "none")
    if (found := digest(tensors, texts)) != expected:
        raise ModelError(f"{path}: sha256 must be {expected}, got {found}: the file is damaged")
    return tensors, {name: json.loads(text) for name, text in texts.items()}


def _prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
