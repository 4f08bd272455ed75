"""One training on several processes: torchrun starts them, this joins them.

Every process holds the whole network, takes its share of each batch, and sees the
same gradients; so all of them hold the same weights after every step.
Source: Li et al., PyTorch Distributed, https://arxiv.org/abs/2006.15704
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from dyntransnet.config import TrainParams
from dyntransnet.errors import ParamsError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Team:
    """The processes of a training, seen from one of them.

    Attributes:
        device: where this one computes.
        rank: which one it is; 0 leads: it alone writes files and talks to MLflow.
        size: how many there are.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes for all."""
        return self.rank == 0

    def check_divides(self, params: TrainParams) -> None:
        """Make sure that every process gets equally many windows.

        Raises:
            ParamsError: a batch cannot be dealt out evenly.
        """
        if params.batch_size % self.size:
            raise ParamsError(
                f"train.batch_size: must be a multiple of the {self.size} processes, "
                f"got {params.batch_size}"
            )
        if params.wide_share and params.wide_count % self.size:
            raise ParamsError(
                f"train.wide_share: must be 0, or wide batches a multiple of the {self.size} "
                f"processes, got {params.wide_count} windows of {params.tile}"
            )

    def share(self, values: Sequence[Value]) -> Sequence[Value]:
        """This process's part of what all of them work through."""
        return values[self.rank :: self.size]

    def gathered(self, values: Sequence[Value]) -> list[Value]:
        """What every process found for its share, in the order before it was dealt out."""
        if self.size == 1:
            return list(values)
        parts: list[list[Value]] = [[] for _ in range(self.size)]
        dist.all_gather_object(parts, list(values))
        longest = max(map(len, parts))
        return [part[at] for at in range(longest) for part in parts if at < len(part)]

    def leaders(self, value: Value) -> Value:
        """The leader's value, for every process."""
        if self.size == 1:
            return value
        values: list[Value] = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


@contextmanager
def joined() -> Iterator[Team]:
    """Join the processes that torchrun started; alone where it did not."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local) if has_gpu else torch.device("cpu")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team(device)
        return
    if has_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if has_gpu else "gloo")
    try:
        yield Team(device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def synchronized(network: nn.Module, team: Team) -> nn.Module:
    """The network with its gradients averaged over all processes after each backward pass."""
    if team.size == 1:
        return network
    ids = [team.device.index] if team.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=ids)


def summed(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The sum over all processes; gradients flow back through it to each."""
    if not dist.is_initialized():
        return values
    total: Tensor = _Summed.apply(values)  # type: ignore[no-untyped-call]
    return total


class _Summed(torch.autograd.Function):
    """What each process gives enters every one's sum; so each gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def mean_over(values: Float[Tensor, "n"], team: Team) -> Float[Tensor, "n"]:
    """The mean over all processes, without gradients."""
    if team.size > 1:
        dist.all_reduce(values)
    return values / team.size
