"""Double-level fusion: the fine and the coarse level tell each other what they hold.

Source: Heidari et al. 2023; the swap of class tokens is from Chen et al.,
CrossViT, https://arxiv.org/abs/2103.14899
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from dyntransnet.networks.hiformer.swin import INITIAL_STD, Grid
from dyntransnet.networks.hiformer.transformer import (
    ClassAttention,
    SelfAttention,
    Tokens,
    TransformerBlock,
)

Order = Literal["swap_first", "swap_last"]
"""Whether the class tokens swap levels before or after each level's own transformer."""


class LevelTokens(nn.Module):
    """A level as tokens: its normed mean as class token, its grid, positions added to both.

    Args:
        channels: of each token.
        edges: of the grid that positions are learned on; another grid interpolates them.
    """

    def __init__(self, channels: int, edges: tuple[int, int]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.class_position = nn.Parameter(torch.empty(1, 1, channels))
        self.positions = nn.Parameter(torch.empty(1, channels, *edges))
        for position in (self.class_position, self.positions):
            nn.init.trunc_normal_(position, std=INITIAL_STD)

    def forward(self, grid: Grid) -> Float[Tensor, "batch 1+x*y channels"]:
        """The class token, then the grid's."""
        summary = self.norm(grid).mean((1, 2)).unsqueeze(1) + self.class_position
        placed = grid + self.positions_on(grid.shape[1:3]).movedim(1, -1)
        return torch.cat([summary, placed.flatten(1, 2)], 1)

    def positions_on(self, edges: Sequence[int]) -> Float[Tensor, "1 channels x y"]:
        """The learned positions on a grid of ``edges``."""
        if tuple(edges) == self.positions.shape[2:]:
            return self.positions
        return F.interpolate(self.positions, tuple(edges), mode="bilinear", align_corners=False)


class Swap(nn.Module):
    """One level's class token visits the other level: y = f(c) + attention(LN([f(c), P])).

    Args:
        own: channels of the level whose class token it is.
        other: channels of the level it visits.
        heads: of the attention there.
    """

    def __init__(self, own: int, other: int, *, heads: int) -> None:
        super().__init__()
        self.there = nn.Sequential(nn.LayerNorm(own), nn.GELU(), nn.Linear(own, other))
        self.norm = nn.LayerNorm(other)
        self.attention = ClassAttention(other, heads)
        self.back = nn.Sequential(nn.LayerNorm(other), nn.GELU(), nn.Linear(other, own))

    def forward(self, own: Tokens, other: Float[Tensor, "batch others width"]) -> Tokens:
        """The level's own tokens, the class token replaced by g(y)."""
        visitor = self.there(own[:, :1])
        seen = torch.cat([visitor, other[:, 1:]], 1)
        visitor = visitor + self.attention(self.norm(seen))
        return torch.cat([self.back(visitor), own[:, 1:]], 1)


class DoubleLevelFusion(nn.Module):
    """DLF: tokens of two levels, global self-attention in each, class tokens swapped.

    The authors' code swaps last and then drops the class tokens, so that nothing of the
    swap can reach a voxel. ``swap_first`` has the same layers in the order in which it
    does: what a class token brings back, self-attention hands to all tokens of its level.

    Args:
        channels: of the fine and the coarse level.
        edges: of their grids.
        depths: transformer blocks of each.
        heads: of their attention.
        mlp_ratio: of their blocks.
        order: of swap and self-attention.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        *,
        edges: Sequence[tuple[int, int]],
        depths: tuple[int, int],
        heads: tuple[int, int],
        mlp_ratio: int,
        order: Order,
    ) -> None:
        super().__init__()
        self.order = order
        self.levels = nn.ModuleList(map(LevelTokens, channels, edges))
        self.swaps = nn.ModuleList(
            Swap(channels[own], channels[1 - own], heads=heads[1 - own]) for own in (0, 1)
        )
        self.encoders = nn.ModuleList(
            nn.Sequential(
                *(
                    TransformerBlock(width, SelfAttention(width, of_level), mlp_ratio=mlp_ratio)
                    for _ in range(depth)
                )
            )
            for width, of_level, depth in zip(channels, heads, depths, strict=True)
        )
        self.norms = nn.ModuleList(map(nn.LayerNorm, channels))

    def forward(
        self, fine: Grid, coarse: Float[Tensor, "batch x2 y2 wide"]
    ) -> tuple[Grid, Float[Tensor, "batch x2 y2 wide"]]:
        """Both levels, each on its own grid."""
        tokens = [level(grid) for level, grid in zip(self.levels, (fine, coarse), strict=True)]
        if self.order == "swap_first":
            tokens = self.encode(self.swap(tokens))
        else:
            tokens = self.swap(self.encode(tokens))
        normed = [norm(of_level)[:, 1:] for norm, of_level in zip(self.norms, tokens, strict=True)]
        return normed[0].view(fine.shape), normed[1].view(coarse.shape)

    def swap(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Both class tokens visit the other level and come back."""
        fine, coarse = tokens
        return [self.swaps[0](fine, coarse), self.swaps[1](coarse, fine)]

    def encode(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Self-attention over all tokens of each level."""
        return [encoder(of_level) for encoder, of_level in zip(self.encoders, tokens, strict=True)]
