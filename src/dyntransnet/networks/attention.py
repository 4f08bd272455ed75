"""The encoder's transformer: attention with a bias that the input itself decides.

Tokens are (batch, tokens, channels). A grid keeps them in place, (batch, x, y, z,
channels): channels last, so that no copy lies between the two.
Source: Zheng et al., DynTransNet, Front. Oncol. 15, 2025, https://doi.org/10.3389/fonc.2025.1569083
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from dyntransnet.errors import ParamsError

Bias = Literal["none", "key", "pair"]
"""What D-MSA adds to the scores: nothing, a value per key, or one per query and key."""

Tokens = Float[Tensor, "batch tokens channels"]
Grid = Float[Tensor, "batch x y z channels"]
PerHead = Float[Tensor, "batch heads tokens depth"]
Scores = Float[Tensor, "batch heads #queries tokens"]

FOLD = 8
"""Columns that hold the folded bias: one would do, fused kernels want multiples of 8."""

MLP_RATIO = 4

REGION_STD = 0.02
"""Spread of W_b at the start. Zero would leave every ReLU dead."""


def naive_attention(query: PerHead, key: PerHead, value: PerHead, bias: Scores | None) -> PerHead:
    """Attention as the equation has it: softmax(Q Kᵀ / √d + B) V. The reference for tests."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    if bias is not None:
        scores = scores + bias
    return scores.softmax(-1) @ value


def fused_attention(query: PerHead, key: PerHead, value: PerHead, bias: Scores | None) -> PerHead:
    """The same attention through fused kernels, which take no bias that varies with the input.

    A bias that is one row for all queries becomes a column of the keys, met by a
    column of ones in the queries: [q/√d, 1]·[k, b] = q·k/√d + b, exactly.

    Args:
        query: Q.
        key: K.
        value: V.
        bias: B, or None; one row of it folds, a full matrix is handed on as a mask.
    """
    if bias is None or bias.shape[-2] != 1:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    depth = query.shape[-1]
    query = F.pad(F.pad(query * depth**-0.5, (0, 1), value=1.0), (0, FOLD - 1))
    key = F.pad(torch.cat([key, bias.transpose(-2, -1)], -1), (0, FOLD - 1))
    value = F.pad(value, (0, FOLD))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :depth]


def swiftly(function: Callable[..., Tensor], first: Tensor, *others: Tensor | None) -> Tensor:
    """Call a function whose bf16 kernels are slower than fp32 on a CPU: there, in fp32.

    Both passes of fused attention are, and those of a depthwise convolution
    (``benchmarks/cpu_training.py``). Elsewhere, or without autocast, this is a plain call.
    """
    if first.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return function(first, *others)
    with torch.autocast("cpu", enabled=False):
        wide = [tensor if tensor is None else tensor.float() for tensor in (first, *others)]
        return function(*wide).to(first.dtype)


class DynamicAttention(nn.Module):
    """Dynamic multi-head self-attention (D-MSA): softmax(Q Kᵀ / √d + ReLU(X W_b + b_b)) V.

    The paper leaves the shape of W_b open. A bias that is constant along the keys
    cancels in the softmax, so the smallest reading with any effect is ``key``: how
    strongly the model attends to a region, whoever asks. ``pair`` is the literal
    N x N reading, for a fixed number of tokens.

    Args:
        channels: of each token, and of the result.
        heads: each sees channels / heads of them.
        bias: the reading of B.
        tokens: N, for ``pair``.

    Raises:
        ParamsError: ``pair`` without a number of tokens.

    Source:
        Zheng et al. 2025, section 3.1.1.
    """

    def __init__(self, channels: int, heads: int, *, bias: Bias, tokens: int | None = None) -> None:
        super().__init__()
        if bias == "pair" and tokens is None:
            raise ParamsError(
                "bias 'pair' must have a fixed number of tokens, got global attention"
            )
        self.heads = heads
        self.attend = fused_attention
        self.query_key_value = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.region: nn.Linear | None = None
        if bias != "none":
            rows = tokens if bias == "pair" and tokens is not None else 1
            self.region = nn.Linear(channels, heads * rows)

    def forward(self, tokens: Tokens) -> Tokens:
        """Mix the tokens of each window."""
        split = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind()
        mixed = swiftly(self.attend, query, key, value, self.region_bias(tokens))
        return self.out(mixed.transpose(1, 2).flatten(2))

    def region_bias(self, tokens: Tokens) -> Scores | None:
        """B(X): one row for all queries under ``key``, a matrix under ``pair``."""
        if self.region is None:
            return None
        bias = F.relu(self.region(tokens)).unflatten(-1, (self.heads, -1))
        # (b, n, h, 1) -> (b, h, 1, n) for key; (b, query, h, key) -> (b, h, query, key) for pair
        return bias.permute(0, 2, 3, 1) if bias.shape[-1] == 1 else bias.transpose(1, 2)

    def reset_region(self) -> None:
        """Start W_b small and b_b at zero: half the units are active."""
        if self.region is not None:
            nn.init.trunc_normal_(self.region.weight, std=REGION_STD)
            nn.init.zeros_(self.region.bias)


class TransformerBlock(nn.Module):
    """Pre-norm block: Z' = Z + D-MSA(LN(Z)), Z'' = Z' + MLP(LN(Z'))."""

    def __init__(self, channels: int, heads: int, *, bias: Bias, tokens: int | None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = DynamicAttention(channels, heads, bias=bias, tokens=tokens)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, MLP_RATIO * channels),
            nn.GELU(),
            nn.Linear(MLP_RATIO * channels, channels),
        )

    def forward(self, tokens: Tokens) -> Tokens:
        """Refine the tokens of each window."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        return tokens + self.mlp(self.mlp_norm(tokens))


class TransformerStage(nn.Module):
    """The blocks at one resolution, within windows or over the whole grid.

    Attention alone does not know where a token lies, and the paper names no position
    signal. Here a depthwise 3 x 3 x 3 convolution adds what lies around each token:
    unlike a learned table it fits any window size and exports as one node.

    Args:
        channels: of each token.
        heads: of the attention.
        depth: number of blocks.
        window: edge of the attention windows in tokens; None attends globally.
        bias: D-MSA's bias; ``pair`` needs windows, so global stages use ``key`` instead.

    Source:
        Chu et al., Conditional positional encodings, https://arxiv.org/abs/2102.10882
    """

    def __init__(
        self, channels: int, heads: int, *, depth: int, window: int | None, bias: Bias
    ) -> None:
        super().__init__()
        self.window = window
        self.position = nn.Conv3d(channels, channels, 3, padding=1, groups=channels)
        tokens = None if window is None else window**3
        bias = "key" if bias == "pair" and tokens is None else bias
        self.blocks = nn.Sequential(
            *(TransformerBlock(channels, heads, bias=bias, tokens=tokens) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, grid: Grid) -> Grid:
        """Attend within each window of the grid."""
        grid = grid + swiftly(self.position, grid.movedim(-1, 1)).movedim(1, -1)
        if self.window is None:
            mixed = self.blocks(grid.flatten(1, 3)).view(grid.shape)
        else:
            windows = self.blocks(to_windows(grid, self.window))
            mixed = from_windows(windows, grid.shape, self.window)
        return self.norm(mixed)


def to_windows(grid: Grid, window: int) -> Float[Tensor, "windows tokens channels"]:
    """Cut a grid into cubes of ``window`` tokens an edge; its edges must be multiples of it."""
    batch, x, y, z, channels = grid.shape
    split = grid.view(
        batch, x // window, window, y // window, window, z // window, window, channels
    )
    return split.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, window**3, channels)


def from_windows(
    windows: Float[Tensor, "windows tokens channels"], shape: torch.Size, window: int
) -> Grid:
    """Put windows back in their places on a grid of ``shape``: the inverse of ``to_windows``."""
    batch, x, y, z, channels = shape
    split = windows.view(
        batch, x // window, y // window, z // window, window, window, window, channels
    )
    return split.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(shape)
