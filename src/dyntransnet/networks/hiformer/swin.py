"""Swin Transformer stages in two dimensions: attention within windows that shift.

Source: Liu et al., Swin Transformer, https://arxiv.org/abs/2103.14030
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from dyntransnet.networks.hiformer.transformer import TransformerBlock

Grid = Float[Tensor, "batch x y channels"]

MLP_RATIO = 4

INITIAL_STD = 0.02
"""Spread of linear weights and position tables at the start, as in Swin and ViT."""


class WindowAttention(nn.Module):
    """Attention within square windows, with a learned bias for each offset of two tokens.

    Windows that stick out of the grid are cut at its border and, when shifted, at the side
    they wrap around to: any grid fits, and only true neighbors attend to each other.

    Args:
        channels: of each token.
        heads: each sees channels / heads of them.
        window: edge of a window in tokens.
        shifted: whether windows start half a window off; an axis that one window spans
            stays as it is.
    """

    offsets: Tensor

    def __init__(self, channels: int, heads: int, *, window: int, shifted: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shifted = heads, window, shifted
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=INITIAL_STD)
        self.register_buffer("offsets", relative_offsets(window), persistent=False)

    def forward(self, grid: Grid) -> Grid:
        """Mix the tokens of each window."""
        x, y = grid.shape[1:3]
        shifts = [self.window // 2 if self.shifted and edge > self.window else 0 for edge in (x, y)]
        padded = F.pad(grid, (0, 0, 0, -y % self.window, 0, -x % self.window))
        rolled = padded.roll([-shift for shift in shifts], (1, 2))
        bias = self.bias(regions((x, y), shifts, self.window, grid.device))
        mixed = self.attend(to_windows(rolled, self.window), bias)
        back = from_windows(mixed, rolled.shape[1:3], self.window).roll(shifts, (1, 2))
        return back[:, :x, :y]

    def attend(
        self,
        windows: Float[Tensor, "batch windows tokens channels"],
        bias: Float[Tensor, "windows heads tokens tokens"],
    ) -> Float[Tensor, "batch windows tokens channels"]:
        """Attention of all windows at once: to a fused kernel they are further heads."""
        split = self.query_key_value(windows).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind()
        mixed = F.scaled_dot_product_attention(query, key, value, bias.flatten(0, 1)[None])
        return self.out(mixed.unflatten(1, (-1, self.heads)).transpose(2, 3).flatten(3))

    def bias(
        self, regions: Int[Tensor, "windows tokens"]
    ) -> Float[Tensor, "windows heads tokens tokens"]:
        """What each window adds to its scores: minus infinity between two regions."""
        bias = self.bias_table[self.offsets].permute(2, 0, 1)
        apart = regions[:, :, None] != regions[:, None, :]
        return bias.masked_fill(apart[:, None], -torch.inf)


class SwinStage(nn.Sequential):
    """Blocks at one resolution; every second one shifts its windows.

    Args:
        channels: of each token.
        heads: of the attention.
        window: edge of a window in tokens.
        drop_path: of each block; as many blocks as rates.
    """

    def __init__(
        self, channels: int, heads: int, *, window: int, drop_path: Sequence[float]
    ) -> None:
        super().__init__(
            *(
                TransformerBlock(
                    channels,
                    WindowAttention(channels, heads, window=window, shifted=index % 2 == 1),
                    mlp_ratio=MLP_RATIO,
                    drop_path=rate,
                )
                for index, rate in enumerate(drop_path)
            )
        )


class PatchMerging(nn.Module):
    """Halve the grid and double the channels: 2 x 2 neighbors become one token."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, grid: Grid) -> Float[Tensor, "batch x//2 y//2 2*channels"]:
        """Merge neighbors; the grid's edges must be even."""
        x, y = grid.shape[1:3]
        merged = self.reduce(self.norm(to_windows(grid, 2).flatten(2)))
        return merged.unflatten(1, (x // 2, y // 2))


def to_windows(
    grid: Shaped[Tensor, "batch x y channels"], window: int
) -> Shaped[Tensor, "batch windows tokens channels"]:
    """Cut a grid into squares of ``window`` tokens an edge; its edges must be multiples of it."""
    split = grid.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return split.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def from_windows(
    windows: Shaped[Tensor, "batch windows tokens channels"], edges: Sequence[int], window: int
) -> Shaped[Tensor, "batch x y channels"]:
    """Put windows back in their places on a grid of ``edges``: the inverse of ``to_windows``."""
    x, y = edges
    split = windows.unflatten(2, (window, window)).unflatten(1, (x // window, y // window))
    return split.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def relative_offsets(window: int) -> Int[Tensor, "tokens tokens"]:
    """The row of the bias table for each pair of tokens of a window."""
    edge = torch.arange(window)
    places = torch.cartesian_prod(edge, edge)
    x, y = (places[:, None] - places[None, :] + window - 1).unbind(-1)
    return (2 * window - 1) * x + y


def regions(
    edges: Sequence[int], shifts: Sequence[int], window: int, device: torch.device
) -> Int[Tensor, "windows tokens"]:
    """A number for each token of the rolled grid: within a window, equal ones were neighbors."""
    x, y = (
        _axis_regions(edge, shift, window, device)
        for edge, shift in zip(edges, shifts, strict=True)
    )
    return to_windows((3 * x[:, None] + y)[None, :, :, None], window)[0, :, :, 0]


def _axis_regions(
    edge: int, shift: int, window: int, device: torch.device
) -> Int[Tensor, " padded"]:
    """Along one axis: 0 in place, 1 wrapped around, 2 padding."""
    padded = edge + -edge % window
    source = torch.arange(padded, device=device) + shift
    return torch.where(source % padded >= edge, 2, (source >= padded).long())
