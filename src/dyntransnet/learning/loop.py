"""The training loop, to be read from top to bottom."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dyntransnet.config import TrainParams
from dyntransnet.contract import Contract
from dyntransnet.errors import TrainingError
from dyntransnet.learning.augment import augment, margin_for
from dyntransnet.learning.cache import CachedCase
from dyntransnet.learning.checkpoint import Progress, TrainingState, copied, save_state
from dyntransnet.learning.clock import Clock, Reading
from dyntransnet.learning.cohort import Cohort
from dyntransnet.learning.crops import Batch, batches
from dyntransnet.learning.loss import LOSSES, supervise, targets_of
from dyntransnet.learning.memory import recompute_activations, told_when_full
from dyntransnet.learning.precision import autocast, gradient_scaler
from dyntransnet.learning.processes import Team, mean_over, synchronized
from dyntransnet.learning.progress_bar import latest, line, progress_bar
from dyntransnet.learning.schedule import average_into, learning_rate, parameter_groups
from dyntransnet.learning.validation import validate
from dyntransnet.networks.registry import build

LOSS_EVERY = 20
"""Steps whose mean loss makes one point of the curve."""

PACE_STEPS = 5
"""Steps that are timed, after one that is not, to fit a run into its budget."""

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

Log = Callable[[Mapping[str, float], int], object]
"""Where curves go besides the report: values and their step."""

Seen = tuple[int, Tensor, tuple[str, ...]]
"""The step of a batch, its loss and its cases."""


def start_state(contract: Contract, params: TrainParams, team: Team) -> TrainingState:
    """A fresh network with its average and optimizer, the same for the same seed."""
    torch.use_deterministic_algorithms(team.device.type == "cpu")
    torch.manual_seed(params.seed)
    network = build(contract.network, contract.patch_size).to(team.device)
    if params.channels_last:
        put_channels_last(network)
    average = copy.deepcopy(network)
    if team.size > 1 and team.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    groups = parameter_groups(network, params.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=params.learning_rate)
    return TrainingState(network, average, {}, optimizer, gradient_scaler(team.device, params))


def put_channels_last(network: nn.Module) -> None:
    """Lay weights out as convolutions in bf16 like them; a network may have some of slices, too."""
    for weight in network.parameters():
        if weight.ndim in CHANNELS_LAST:
            weight.data = weight.data.to(memory_format=CHANNELS_LAST[weight.ndim])


def fit(
    state: TrainingState,
    progress: Progress,
    cohort: Cohort,
    params: TrainParams,
    team: Team,
    *,
    saved: Path,
    log: Log,
) -> None:
    """Run the steps that are left; averaged weights that validate best are in ``state.best``.

    Args:
        state: changed in place.
        progress: where to start and after how many steps to end; changed in place.
        cohort: who trains and validates.
        params: how.
        team: the processes that share each batch.
        saved: the file for the state that a killed run goes on from.
        log: is given the curves.

    Raises:
        TrainingError: a loss is not finite, or a batch does not fit in memory; the last
            saved state is kept.
    """
    forward = _forward(state.network, params, team)
    windows = _windows(cohort, params, team, first=progress.step * params.accumulate)
    clock, pending = Clock(team.device, progress.taken), list[Seen]()
    bar, task = progress_bar(progress, visible=team.leads)
    with bar:
        while progress.step < progress.steps and not out_of_patience(progress, params):
            pending += learn(state, forward, windows, progress, params, team, clock)
            progress.step += 1
            ends = progress.step == progress.steps
            if ends or progress.step % LOSS_EVERY == 0:
                settle(pending, progress, team)
                note_loss(progress, log)
            if ends or progress.step % params.validate_every == 0:
                with clock.paused():
                    scores = validate(state.average, _chosen(cohort, params), params, team)
                note_scores(state, progress, scores, log)
                if team.leads:
                    bar.console.print(line(progress))
            if ends or progress.step % params.save_every == 0:
                settle(pending, progress, team)
                progress.taken = clock.read()
                if team.leads:
                    with clock.paused():
                        save_state(state, progress, saved)
            bar.update(task, completed=progress.step, shown=latest(progress))
    settle(pending, progress, team)
    progress.taken = clock.read()


def learn(
    state: TrainingState,
    forward: Callable[..., Any],
    windows: Iterator[Batch],
    progress: Progress,
    params: TrainParams,
    team: Team,
    clock: Clock,
) -> list[Seen]:
    """One step: gradients of a batch, or of several, then the weights move.

    Returns:
        Of each batch the step, its loss, still on its device, and the cases it was cut from.
    """
    seen = []
    torch.manual_seed(_seed(params.seed, progress.step, team.rank))  # for dropout
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(progress.step, progress.steps, params)
    state.optimizer.zero_grad(set_to_none=True)
    for _ in range(params.accumulate):
        with clock.waiting():
            batch = next(windows)
            image, label = augment(
                batch.image.to(team.device), batch.label.to(team.device),
                batch.patch_size, params.augment, batch.spacing_mm, batch.chances,
            )  # fmt: skip
        with told_when_full(params):
            with autocast(team.device, params):
                logits = forward(image)
            loss = supervise(LOSSES[params.loss], logits, targets_of(label))
            state.scaler.scale(loss / params.accumulate).backward()
        seen.append((progress.step + 1, loss.detach(), batch.cases))
    state.scaler.unscale_(state.optimizer)
    nn.utils.clip_grad_norm_(state.network.parameters(), params.gradient_clip)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    average_into(state.average, state.network, progress.step, params.ema_decay)
    return seen


def steps_within(
    minutes: float, contract: Contract, cohort: Cohort, params: TrainParams, team: Team
) -> int:
    """How many steps fit into a budget, from the pace of a few that are thrown away.

    Args:
        minutes: of the processor's time on a CPU, all its threads added up; of a clock on
            the wall on a GPU.
        contract: names the network.
        cohort: where windows come from.
        params: how a step is made.
        team: every process gets the leader's answer.
    """
    trial = params.model_copy(update={"steps": PACE_STEPS + 1})
    state, progress = start_state(contract, trial, team), Progress("", steps=PACE_STEPS + 1)
    forward, windows = _forward(state.network, trial, team), _windows(cohort, trial, team, first=0)
    clock = Clock(team.device, Reading())
    learn(state, forward, windows, progress, trial, team, clock)
    begun_s = clock.budget_now_s()
    for _ in range(PACE_STEPS):
        learn(state, forward, windows, progress, trial, team, clock)
    pace_s = (clock.budget_now_s() - begun_s) / PACE_STEPS
    return team.leaders(max(1, int(minutes * 60 / pace_s)))


def settle(pending: list[Seen], progress: Progress, team: Team) -> None:
    """Take the losses of the last steps off their device, where every one must be finite.

    Raises:
        TrainingError: one is not; its cases are named.
    """
    if not pending:
        return
    losses = mean_over(torch.stack([loss for _, loss, _ in pending]), team).tolist()
    for loss, (step, _, cases) in zip(losses, pending, strict=True):
        if not math.isfinite(loss):
            raise TrainingError(
                f"train: the loss must stay finite, got {loss} at step {step}, on windows of "
                f"{', '.join(cases)}; what was saved before it is kept: a lower "
                "train.learning_rate or precision fp32 may help"
            )
    progress.recent.extend(losses)
    pending.clear()


def out_of_patience(progress: Progress, params: TrainParams) -> bool:
    """Whether ``patience`` validations have passed without a better one."""
    since = [row for row in progress.scores if row["step"] > progress.best_step]
    return 0 < params.patience <= len(since)


def note_loss(progress: Progress, log: Log) -> None:
    """Make the mean of the recent losses a point of the curve."""
    row = {"loss": float(np.mean(progress.recent))}
    progress.recent.clear()
    progress.losses.append({"step": progress.step, **row})
    log(row, progress.step)


def note_scores(
    state: TrainingState, progress: Progress, scores: Mapping[str, float], log: Log
) -> None:
    """Make validation Dice a point of the curve; keep the averaged weights if it is the best."""
    named = {f"dice_{name}": value for name, value in scores.items()}
    progress.scores.append({"step": progress.step, **named})
    log({f"validation_{name}": value for name, value in named.items()}, progress.step)
    score = float(np.mean(list(scores.values()))) if scores else -math.inf
    if score > progress.best_score:
        progress.best_score, progress.best_step = score, progress.step
        state.best.update(copied(state.average))


def _forward(network: nn.Module, params: TrainParams, team: Team) -> Callable[..., Any]:
    """The network as a step calls it."""
    network.train()
    if params.recompute:
        recompute_activations(network)
    shared = synchronized(network, team)
    return torch.compile(shared) if params.compile else shared


def _windows(cohort: Cohort, params: TrainParams, team: Team, *, first: int) -> Iterator[Batch]:
    return batches(
        cohort.train,
        params,
        margin=lambda patch: margin_for(patch, params.augment, cohort.spacing_mm),
        first=first,
        spacing_mm=cohort.spacing_mm,
        share=team.share,
    )


def _chosen(cohort: Cohort, params: TrainParams) -> list[CachedCase]:
    return cohort.validation[: params.validate_cases]


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
