"""How the learning rate and the averaged weights move with the step."""

import math

import torch
from torch import nn

from dyntransnet.config import TrainParams


def learning_rate(step: int, steps: int, params: TrainParams) -> float:
    """Linear warm-up, then half a cosine down to zero.

    Args:
        step: from 0.
        steps: of the whole run.
        params: peak rate, and the share of the steps that warms up.
    """
    warmup = max(1, round(params.warmup_share * steps))
    if step < warmup:
        return params.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return params.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def average_into(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Move an exponential average of the weights one step on.

    Early on the average is short, so that it does not remember the initial weights.
    """
    keep = min(decay, (1 + step) / (10 + step))
    for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - keep)
        else:
            old.copy_(new)


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Decay matrices and kernels; leave alone biases, norms and what says so of itself.

    ``_no_weight_decay`` is how mamba_ssm marks the rates of its state space.
    """

    def is_spared(weight: nn.Parameter) -> bool:
        return weight.ndim <= 1 or getattr(weight, "_no_weight_decay", False)

    weights = list(network.parameters())
    return [
        {"params": [w for w in weights if not is_spared(w)], "weight_decay": weight_decay},
        {"params": [w for w in weights if is_spared(w)], "weight_decay": 0.0},
    ]
