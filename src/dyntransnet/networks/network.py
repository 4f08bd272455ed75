"""DynTransNet: a windowed transformer encoder and a convolutional decoder, as a U.

Source: Zheng et al., DynTransNet, Front. Oncol. 15, 2025, https://doi.org/10.3389/fonc.2025.1569083
"""

from collections.abc import Iterator
from itertools import pairwise
from math import lcm
from typing import Literal

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn

from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.networks.attention import Bias, DynamicAttention, TransformerStage
from dyntransnet.networks.blocks import (
    NEGATIVE_SLOPE,
    DecoderStep,
    Fusion,
    PatchEmbedding,
    PatchMerging,
    Refine,
    Stem,
)

PRIOR_LOGIT = -2.0
"""The head's bias at the start: most voxels are background, and small lesions are found sooner.

Source: Lin et al., Focal loss for dense object detection, https://arxiv.org/abs/1708.02002
"""


SUPERVISED_BELOW = 2
"""Grids below the finest that deep supervision asks for an answer."""


class Architecture(BaseModel):
    """The network's options; the defaults are this project's reading of the paper.

    The paper states no layer sizes. Windows at high resolution and global attention
    below take in "both global and local" context at a cost that fits 16 GB.

    Attributes:
        in_channels: of the image.
        classes: logits for each voxel.
        patch: edge of a patch in voxels, the stride of the first stage.
        embed_dim: channels of the first stage; each further stage doubles them.
        depths: transformer blocks of each stage.
        heads: of each stage's attention.
        windows: edge of each stage's attention windows in tokens; None attends globally.
        bias: D-MSA's bias; ``pair`` needs windows, global stages then use ``key``.
        fusion: how skips join the decoder.
        refine: what follows each fusion.
        raw_skip: whether features at full resolution join the last decoder step.
        stem_dim: channels at full resolution.
        deep_supervision: whether, in training, the two grids below the finest answer too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: PositiveInt = 1
    classes: PositiveInt = 2
    patch: Literal[2, 4] = 2
    embed_dim: PositiveInt = 48
    depths: tuple[PositiveInt, ...] = (2, 2, 2, 2)
    heads: tuple[PositiveInt, ...] = (3, 6, 12, 24)
    windows: tuple[PositiveInt | None, ...] = (8, 8, None, None)
    bias: Bias = "key"
    fusion: Fusion = "fmm"
    refine: Refine = "residual"
    raw_skip: bool = True
    stem_dim: PositiveInt = 24
    deep_supervision: bool = False

    @model_validator(mode="after")
    def _stages_agree(self) -> "Architecture":
        lengths = {len(self.depths), len(self.heads), len(self.windows)}
        if len(lengths) != 1:
            raise ParamsError(f"depths, heads and windows must be equally many, got {lengths}")
        for channels, heads in zip(self.channels, self.heads, strict=True):
            if channels % heads:
                raise ParamsError(f"heads must divide a stage's {channels} channels, got {heads}")
        if self.bias == "pair" and not any(self.windows):
            raise ParamsError("bias 'pair' must have a stage with windows, got global stages only")
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each stage."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))

    @property
    def multiple(self) -> int:
        """Every edge of an image must be a multiple of this, so that all windows are full."""
        strides = [self.patch * 2**stage for stage in range(len(self.depths))]
        return lcm(*(s * (w or 1) for s, w in zip(strides, self.windows, strict=True)))


class DynTransNet(nn.Module):
    """Windows in, logits out; the sigmoid lives in the loss and in whoever decodes.

    Args:
        architecture: the options; see there.

    Source:
        Zheng et al. 2025, section 3.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.multiple = architecture.multiple
        channels = architecture.channels
        self.embed = PatchEmbedding(
            architecture.in_channels, architecture.embed_dim, patch=architecture.patch
        )
        self.stages = nn.ModuleList(_stages(architecture))
        self.merges = nn.ModuleList(PatchMerging(width) for width in channels[:-1])
        self.stem = _stem(architecture)
        self.decoder = nn.ModuleList(_decoder(architecture))
        self.head = nn.Conv3d(architecture.stem_dim, architecture.classes, 1)
        self.side_heads = nn.ModuleList(_side_heads(architecture))
        initialize(self)

    def forward(
        self, image: Float[Tensor, "batch channels x y z"]
    ) -> Float[Tensor, "batch classes x y z"] | list[Tensor]:
        """Logits of each voxel; under deep supervision those of coarser grids follow.

        Raises:
            ModelError: an edge of the image is not a multiple of ``multiple``.
        """
        edges = tuple(image.shape[2:])
        if any(edge % self.multiple for edge in edges):
            raise ModelError(f"window edges must be multiples of {self.multiple}, got {edges}")
        *skips, features = self.encode(image)
        levels = []
        for step in self.decoder:
            features = step(features, skips.pop())
            levels.append(features)
        logits = self.head(features)
        if not (self.training and self.side_heads):
            return logits
        coarser = zip(self.side_heads, reversed(levels[:-1]), strict=False)
        return [logits, *(head(level) for head, level in coarser)]

    def encode(self, image: Tensor) -> list[Tensor | None]:
        """Skips from full resolution to the coarsest stage; None where a grid has no skip."""
        grid = self.stages[0](self.embed(image))
        maps = [grid]
        for merge, stage in zip(self.merges, self.stages[1:], strict=True):
            maps.append(stage(merge(maps[-1])))
        gaps: list[Tensor | None] = [None] * (len(self.decoder) - len(maps))
        raw = None if self.stem is None else self.stem(image)
        return [raw, *gaps, *(grid.movedim(-1, 1) for grid in maps)]


def initialize(network: DynTransNet) -> None:
    """Unit variance through every layer: with small widths a fixed 0.02 starts too quietly."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.ConvTranspose3d):
            # Stride equals kernel, so each voxel comes from one: its fan-in is the channels.
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
        elif isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, NEGATIVE_SLOPE)
        if (
            isinstance(module, nn.Linear | nn.Conv3d | nn.ConvTranspose3d)
            and module.bias is not None
        ):
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, DynamicAttention):
            module.reset_region()
    for head in (network.head, *network.side_heads):
        nn.init.constant_(head.bias, PRIOR_LOGIT)


def _stages(architecture: Architecture) -> Iterator[TransformerStage]:
    options = (architecture.channels, architecture.heads, architecture.depths, architecture.windows)
    for channels, heads, depth, window in zip(*options, strict=True):
        yield TransformerStage(channels, heads, depth=depth, window=window, bias=architecture.bias)


def _stem(architecture: Architecture) -> Stem | None:
    if not architecture.raw_skip:
        return None
    return Stem(architecture.in_channels, architecture.stem_dim, refine=architecture.refine)


def _side_heads(architecture: Architecture) -> Iterator[nn.Conv3d]:
    """For the grids at a half and a quarter of the finest, in this order."""
    if architecture.deep_supervision:
        for width in _decoder_widths(architecture)[-2:0:-1][:SUPERVISED_BELOW]:
            yield nn.Conv3d(width, architecture.classes, 1)


def _decoder_widths(architecture: Architecture) -> list[int]:
    """Channels from the coarsest map through every decoder step."""
    doublings = architecture.patch.bit_length() - 1
    return [*reversed(architecture.channels), *[architecture.stem_dim] * doublings]


def _decoder(architecture: Architecture) -> Iterator[DecoderStep]:
    doublings = architecture.patch.bit_length() - 1
    widths = _decoder_widths(architecture)
    skips = [True] * (len(architecture.channels) - 1) + [False] * (doublings - 1)
    skips.append(architecture.raw_skip)
    for (wide, width), has_skip in zip(pairwise(widths), skips, strict=True):
        fusion = architecture.fusion if has_skip else None
        yield DecoderStep(wide, width, fusion=fusion, refine=architecture.refine)
