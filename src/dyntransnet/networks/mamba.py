"""The Mamba block: a gated selective scan in the place of attention.

Tokens are (batch, length, channels).
Source: Gu and Dao, Mamba, https://arxiv.org/abs/2312.00752
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from dyntransnet.networks.selective_scan import MAX_CHUNK, selective_scan

CHUNK_VALUES = 2**22
"""Values of a chunk with every state spelled out: 16 MiB; its backward keeps six times that."""

STEP_RANGE = (1e-3, 1e-1)
"""Where delta starts, log-uniformly: the reference implementation's values."""

CHANNELS_PER_RANK = 16


class Mamba(nn.Module):
    """The Mamba block: project, convolve causally, scan, gate, project back.

    Parameters have the names, shapes and initial distributions of ``mamba_ssm.Mamba``,
    so weights move between the two.

    Args:
        channels: of each token, and of the result.
        states: of each inner channel (N).
        kernel: tokens that the causal convolution sees.
        expand: inner channels for each outer one.

    Source:
        Gu and Dao 2023, section 3.4; state-spaces/mamba, ``modules/mamba_simple.py``.
    """

    def __init__(
        self, channels: int, *, states: int = 16, kernel: int = 4, expand: int = 2
    ) -> None:
        super().__init__()
        inner, rank = expand * channels, math.ceil(channels / CHANNELS_PER_RANK)
        self.splits = (rank, states, states)
        self.chunk = min(MAX_CHUNK, max(1, CHUNK_VALUES // (inner * states)))
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.A_log._no_weight_decay = True  # type: ignore[attr-defined]
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.x_proj = nn.Linear(inner, sum(self.splits), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)
        self.reset_steps()

    def forward(
        self, tokens: Float[Tensor, "batch length channels"]
    ) -> Float[Tensor, "batch length channels"]:
        """Let each token see those before it."""
        x, gate = self.in_proj(tokens).transpose(1, 2).chunk(2, 1)
        x = F.silu(self.conv1d(x)[..., : tokens.shape[1]])
        step, enter, show = self.x_proj(x.transpose(1, 2)).split(self.splits, -1)
        # The bias is added apart: under autocast the sum is then fp32, where small steps count.
        delta = F.softplus(F.linear(step, self.dt_proj.weight) + self.dt_proj.bias)
        y = selective_scan(
            x,
            delta.transpose(1, 2),
            -torch.exp(self.A_log),
            enter.transpose(1, 2),
            show.transpose(1, 2),
            self.D,
            chunk=self.chunk,
        )
        return self.out_proj((y * F.silu(gate)).transpose(1, 2))

    def reset_steps(self) -> None:
        """Start with softplus(bias) log-uniform in ``STEP_RANGE``, whatever the token."""
        low, high = map(math.log, STEP_RANGE)
        spread = self.dt_proj.in_features**-0.5
        nn.init.uniform_(self.dt_proj.weight, -spread, spread)
        step = torch.empty(self.dt_proj.out_features).uniform_(low, high).exp()
        with torch.no_grad():
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))
