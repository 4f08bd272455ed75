"""LightM-UNet: a U whose encoder mixes voxels with Mamba instead of convolutions.

Feature maps are (batch, channels, x, y, z); Mamba reads their voxels row by row, z fastest.
Source: Liao et al., LightM-UNet, https://arxiv.org/abs/2403.05246, and its reference code,
MrBlankness/LightM-UNet (Apache-2.0), ``nnunetv2/nets/LightMUNet.py`` at d2bed4a. At 36411aa
that file has dense convolutions in stem and decoder, where the paper has depthwise ones.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt, validate_call
from torch import Tensor, nn

from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.networks.mamba import Mamba

GROUPS = 8
"""Of every group norm; the filters must be a multiple of it."""

BLOCKS_DOWN = (1, 2, 2, 4)
"""Residual Mamba blocks of each encoder stage; the last stage is the bottleneck."""

Features = Float[Tensor, "batch channels x y z"]
Blocks = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


@validate_call
def lightm_unet(
    *,
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt],
    init_filters: Annotated[int, Field(gt=0, multiple_of=GROUPS)] = 32,
    states: PositiveInt = 16,
    expand: PositiveInt = 2,
    blocks_down: Blocks = BLOCKS_DOWN,
    in_channels: PositiveInt = 1,
    classes: PositiveInt = 2,
) -> nn.Module:
    """LightM-UNet; the defaults are its reference trainer's.

    Args:
        patch_size: window edges in voxels.
        init_filters: channels at full resolution; each stage doubles them.
        states: of each inner channel of Mamba.
        expand: Mamba's inner channels for each outer one.
        blocks_down: residual blocks of each stage, so also the number of stages.
        in_channels: of the image.
        classes: logits for each voxel.

    Raises:
        ParamsError: an edge is not a multiple of ``edge_multiple(blocks_down)``.
    """
    if any(edge % edge_multiple(blocks_down) for edge in patch_size):
        raise ParamsError(
            "lightm_unet: patch_size must hold multiples of "
            f"{edge_multiple(blocks_down)}, got {patch_size}"
        )
    return LightMUNet(
        init_filters,
        states=states,
        expand=expand,
        blocks_down=blocks_down,
        in_channels=in_channels,
        classes=classes,
    )


def edge_multiple(blocks_down: tuple[int, ...] = BLOCKS_DOWN) -> int:
    """What every window edge must be a multiple of: each stage but the first halves it."""
    return int(2 ** (len(blocks_down) - 1))


class LightMUNet(nn.Module):
    """Windows in, logits out.

    Args:
        init_filters: see ``lightm_unet``, as all others.
        states: as there.
        expand: as there.
        blocks_down: as there.
        in_channels: as there.
        classes: as there.

    Source:
        Liao et al. 2024, section 2.
    """

    def __init__(
        self,
        init_filters: int,
        *,
        states: int,
        expand: int,
        blocks_down: tuple[int, ...],
        in_channels: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.multiple = edge_multiple(blocks_down)
        widths = [init_filters * 2**stage for stage in range(len(blocks_down))]
        self.stem = separable_conv(in_channels, init_filters)
        self.stages = nn.ModuleList(
            encoder_stage(width, blocks, states=states, expand=expand, is_first=stage == 0)
            for stage, (width, blocks) in enumerate(zip(widths, blocks_down, strict=True))
        )
        self.decoder = nn.ModuleList(DecoderStep(width) for width in reversed(widths[:-1]))
        self.head = nn.Sequential(
            nn.GroupNorm(GROUPS, init_filters),
            nn.ReLU(),
            separable_conv(init_filters, classes, kernel=1, bias=True),
        )

    def forward(
        self, image: Float[Tensor, "batch channels x y z"]
    ) -> Float[Tensor, "batch classes x y z"]:
        """Logits of each voxel.

        Raises:
            ModelError: an edge of the image is not a multiple of ``multiple``.
        """
        edges = tuple(image.shape[2:])
        if any(edge % self.multiple for edge in edges):
            raise ModelError(f"window edges must be multiples of {self.multiple}, got {edges}")
        features, skips = self.stem(image), []
        for stage in self.stages:
            features = stage(features)
            skips.append(features)
        for step, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            features = step(features, skip)
        return self.head(features)


def encoder_stage(
    channels: int, blocks: int, *, states: int, expand: int, is_first: bool
) -> nn.Sequential:
    """Halve the grid and double the channels, except at first; then residual Mamba blocks."""
    stage = nn.Sequential()
    if not is_first:
        stage.append(ResidualVisionMamba(channels // 2, channels, states=states, expand=expand))
        stage.append(nn.MaxPool3d(2))
    return stage.extend(MambaBlock(channels, states=states, expand=expand) for _ in range(blocks))


class MambaBlock(nn.Module):
    """F + (RVM ReLU GN)(RVM ReLU GN)(F): a residual block with RVM layers for convolutions."""

    def __init__(self, channels: int, *, states: int, expand: int) -> None:
        super().__init__()
        halves = [
            nn.Sequential(
                nn.GroupNorm(GROUPS, channels),
                nn.ReLU(inplace=True),
                ResidualVisionMamba(channels, channels, states=states, expand=expand),
            )
            for _ in range(2)
        ]
        self.blocks = nn.Sequential(*halves)

    def forward(self, features: Features) -> Features:
        """Mix a map's voxels without losing it."""
        return features + self.blocks(features)


class ResidualVisionMamba(nn.Module):
    """RVM: W LN(Mamba(LN(F)) + s F), a Mamba with a learned share s of its input.

    As in the reference code, one LN serves both places, and the VSS module of the paper
    is the plain Mamba block.

    Source:
        Liao et al. 2024, section 2.2.
    """

    def __init__(self, in_channels: int, channels: int, *, states: int, expand: int) -> None:
        super().__init__()
        self.skip_scale = nn.Parameter(torch.ones(1))
        self.norm = nn.LayerNorm(in_channels)
        self.mamba = Mamba(in_channels, states=states, expand=expand)
        self.project = nn.Linear(in_channels, channels)

    def forward(self, features: Features) -> Float[Tensor, "batch width x y z"]:
        """Let each voxel see those before it."""
        tokens = features.flatten(2).transpose(1, 2)
        mixed = self.mamba(self.norm(tokens)) + self.skip_scale * tokens
        projected = self.project(self.norm(mixed))
        return projected.transpose(1, 2).unflatten(2, features.shape[2:])


class DecoderStep(nn.Module):
    """Halve the channels, double the grid, add the skip, refine (section 2.4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.refine = SeparableBlock(channels)
        self.reduce = nn.Conv3d(2 * channels, channels, 1, bias=False)
        self.upsample = nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False)

    def forward(
        self, coarse: Features, skip: Float[Tensor, "batch width 2*x 2*y 2*z"]
    ) -> Float[Tensor, "batch width 2*x 2*y 2*z"]:
        """From a map to the next finer one."""
        return self.refine(self.upsample(self.reduce(coarse)) + skip)


class SeparableBlock(nn.Module):
    """ReLU(GN(DWConv(ReLU(GN(F))) + s F)), s a learned adjustment factor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.skip_scale = nn.Parameter(torch.ones(1))
        self.norm_in = nn.GroupNorm(GROUPS, channels)
        self.norm_out = nn.GroupNorm(GROUPS, channels)
        self.conv = separable_conv(channels, channels)

    def forward(self, features: Features) -> Features:
        """Refine a map."""
        mixed = self.conv(torch.relu(self.norm_in(features))) + self.skip_scale * features
        return torch.relu(self.norm_out(mixed))


def separable_conv(
    in_channels: int, channels: int, *, kernel: int = 3, bias: bool = False
) -> nn.Sequential:
    """DWConv: a convolution of each channel, then a mix of the channels."""
    return nn.Sequential(
        nn.Conv3d(in_channels, in_channels, kernel, 1, kernel // 2, groups=in_channels, bias=bias),
        nn.Conv3d(in_channels, channels, 1, bias=bias),
    )
