"""Whether a batch fits: asked before training, and answered in one line when it does not."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dyntransnet.config import TrainParams
from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import ParamsError, TrainingError
from dyntransnet.learning.cost import cost_of
from dyntransnet.learning.processes import Team
from dyntransnet.memory import free_bytes

BYTES_PER_PARAMETER = 20
"""A weight, its gradient, Adam's two moments and the average, in fp32."""

ADVICE = (
    "lower train.batch_size or train.patch_size, raise train.accumulate, or set train.recompute"
)


def check_fits(network: NetworkSpec, params: TrainParams, team: Team) -> None:
    """Compare the least a step needs with what is free; nothing is computed.

    Raises:
        ParamsError: a step cannot fit.
    """
    kinds = {params.patch_size: params.batch_size}
    if params.wide_share:
        kinds[params.tile] = params.wide_count
    free = free_on(team.device)
    for patch_size, count in kinds.items():
        windows = count // team.size
        cost = cost_of(network, patch_size, batch=windows, precision=params.precision)
        kept = 0 if params.recompute else cost.activation_bytes
        if (needed := BYTES_PER_PARAMETER * cost.parameters + kept) > free:
            raise ParamsError(
                f"train.batch_size: {windows} windows of {patch_size} of {network.name} must "
                f"fit in the {free / 2**30:.1f} GiB that are free, got at least "
                f"{needed / 2**30:.1f} GiB; {ADVICE}"
            )


def free_on(device: torch.device) -> int:
    """Bytes that can still be taken, of a GPU, or of this machine and its container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_bytes()


def peak_bytes(device: torch.device) -> int:
    """The most memory that was taken so far: on a GPU by torch, else by this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def told_when_full(params: TrainParams) -> Iterator[None]:
    """Turn torch's words on exhausted memory into advice.

    Raises:
        TrainingError: memory ran out inside the block.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"train.batch_size: a batch of {params.batch_size} windows of {params.patch_size} must "
            f"fit in memory, got none left; {ADVICE}"
        ) from error


def recompute_activations(network: nn.Module) -> None:
    """Keep only what goes into each part of a network, and compute the rest again on the way back.

    Args:
        network: its children, or the members of a child that is a list, become the parts; of
            a network with one child, that child's.

    Source:
        Chen et al., Training deep nets with sublinear memory cost, https://arxiv.org/abs/1604.06174
    """
    for part in _parts(network):
        part.forward = partial(checkpoint, part.forward, use_reentrant=False)


def _parts(network: nn.Module) -> Iterator[nn.Module]:
    children = list(network.children())
    for child in children:
        if len(children) == 1 or isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _parts(child)
        else:
            yield child
