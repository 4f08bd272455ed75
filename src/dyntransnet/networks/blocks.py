"""The parts around the transformer: patches, merging, and the decoder's modules.

Feature maps are (batch, channels, x, y, z).
Source: Zheng et al., DynTransNet, Front. Oncol. 15, 2025, https://doi.org/10.3389/fonc.2025.1569083
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dyntransnet.networks.attention import Grid, to_windows

Fusion = Literal["fmm", "concat", "weighted_sum"]
"""How a skip meets the decoder: the paper's FM-M, or one of its two ablation twins."""

Refine = Literal["residual", "plain"]
"""What follows a fusion: the paper's RM, or the same convolutions without the identity."""

Features = Float[Tensor, "batch channels x y z"]

NEGATIVE_SLOPE = 0.01
"""Of every leaky ReLU (nnU-Net's value; the paper gives none)."""

MIN_GATE_CHANNELS = 8


class PatchEmbedding(nn.Module):
    """Cut an image into cubes of ``patch`` voxels and map each to a token (section 3.1)."""

    def __init__(self, in_channels: int, channels: int, *, patch: int) -> None:
        super().__init__()
        self.project = nn.Conv3d(in_channels, channels, patch, stride=patch)

    def forward(self, image: Features) -> Float[Tensor, "batch nx ny nz embed"]:
        """One token for each patch."""
        return self.project(image).movedim(1, -1)


class PatchMerging(nn.Module):
    """Halve the grid and double the channels: 2 x 2 x 2 neighbors become one token.

    Source:
        Liu et al., Swin Transformer, https://arxiv.org/abs/2103.14030
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * channels)
        self.reduce = nn.Linear(8 * channels, 2 * channels, bias=False)

    def forward(self, grid: Grid) -> Float[Tensor, "batch x//2 y//2 z//2 2*channels"]:
        """Merge neighbors; the grid's edges must be even."""
        batch, x, y, z, _ = grid.shape
        merged = self.reduce(self.norm(to_windows(grid, 2).flatten(1)))
        return merged.view(batch, x // 2, y // 2, z // 2, -1)


class FeatureMixModule(nn.Module):
    """FM-M: an attention gate on the skip, then both maps in one.

    alpha = sigmoid(psi(ReLU(W_g g + W_x x))), F = W_f [alpha x, g]. The kernel of W_f is not
    stated; it "reduces the dimensionality" and 3 x 3 x 3 convolutions follow, so 1 here.

    Source:
        Zheng et al. 2025, section 3.2.1, after Oktay et al., Attention U-Net,
        https://arxiv.org/abs/1804.03999
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(MIN_GATE_CHANNELS, channels // 2)
        self.gate_decoder = nn.Conv3d(channels, inner, 1)
        self.gate_skip = nn.Conv3d(channels, inner, 1, bias=False)
        self.psi = nn.Conv3d(inner, 1, 1)
        self.fuse = nn.Conv3d(2 * channels, channels, 1)

    def forward(self, skip: Features, decoder: Features) -> Features:
        """Fuse the encoder's and the decoder's map of the same grid."""
        return self.fuse(torch.cat([self.alpha(skip, decoder) * skip, decoder], 1))

    def alpha(self, skip: Features, decoder: Features) -> Float[Tensor, "batch 1 x y z"]:
        """How much of the skip passes at each voxel, in (0, 1)."""
        mixed = torch.relu(self.gate_decoder(decoder) + self.gate_skip(skip))
        return torch.sigmoid(self.psi(mixed))


class Concatenation(nn.Module):
    """FM-M's ablation twin without the gate: F = W_f [x, g] (Table 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fuse = nn.Conv3d(2 * channels, channels, 1)

    def forward(self, skip: Features, decoder: Features) -> Features:
        """Fuse the encoder's and the decoder's map of the same grid."""
        return self.fuse(torch.cat([skip, decoder], 1))


class WeightedSum(nn.Module):
    """FM-M's ablation twin with two learned shares: F = W_f (w₁ x + w₂ g) (Table 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shares = nn.Parameter(torch.zeros(2))
        self.fuse = nn.Conv3d(channels, channels, 1)

    def forward(self, skip: Features, decoder: Features) -> Features:
        """Fuse the encoder's and the decoder's map of the same grid."""
        skip_share, decoder_share = self.shares.softmax(0)
        return self.fuse(skip_share * skip + decoder_share * decoder)


class ConvBlock(nn.Sequential):
    """LReLU(IN(Conv3x3x3)). The norm cancels a convolution's bias, so there is none."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            nn.Conv3d(in_channels, channels, 3, padding=1, bias=False),
            nn.InstanceNorm3d(channels, affine=True),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
        )


class ResidualModule(nn.Module):
    """RM: F + block(block(F)), each block LReLU(IN(Conv3x3x3)); no activation after the sum.

    Source:
        Zheng et al. 2025, section 3.2.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = plain_module(channels)

    def forward(self, features: Features) -> Features:
        """Refine a map without losing it."""
        return features + self.blocks(features)


def plain_module(channels: int) -> nn.Module:
    """RM's ablation twin: the same two blocks without the identity."""
    return nn.Sequential(ConvBlock(channels, channels), ConvBlock(channels, channels))


FUSIONS = {"fmm": FeatureMixModule, "concat": Concatenation, "weighted_sum": WeightedSum}
REFINEMENTS = {"residual": ResidualModule, "plain": plain_module}


class Stem(nn.Sequential):
    """Features at the image's own resolution, for sharp borders: ConvBlock, then RM."""

    def __init__(self, in_channels: int, channels: int, *, refine: Refine) -> None:
        super().__init__(ConvBlock(in_channels, channels), REFINEMENTS[refine](channels))


class DecoderStep(nn.Module):
    """Double the grid, take in the skip of that grid if there is one, refine (section 3.2)."""

    def __init__(
        self, in_channels: int, channels: int, *, fusion: Fusion | None, refine: Refine
    ) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose3d(in_channels, channels, 2, stride=2)
        self.fuse = None if fusion is None else FUSIONS[fusion](channels)
        self.refine = REFINEMENTS[refine](channels)

    def forward(
        self, coarse: Features, skip: Float[Tensor, "batch width 2*x 2*y 2*z"] | None
    ) -> Float[Tensor, "batch width 2*x 2*y 2*z"]:
        """From a map to the next finer one."""
        decoder = self.upsample(coarse)
        fused = decoder if self.fuse is None else self.fuse(skip, decoder)
        return self.refine(fused)
