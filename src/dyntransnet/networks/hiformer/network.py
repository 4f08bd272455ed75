"""The whole network: options, decoder, and the factory that makes it take volumes."""

from math import gcd
from typing import Any

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.networks.hiformer.fusion import DoubleLevelFusion, Order
from dyntransnet.networks.hiformer.pyramid import Features, Pyramid
from dyntransnet.networks.hiformer.swin import INITIAL_STD
from dyntransnet.networks.peers import Patch
from dyntransnet.networks.slices import SliceWise

STRIDES = (4, 16)
"""Of the fine and the coarse level."""

MULTIPLE = 16
"""The edges x and y of a slice must be multiples of the coarsest stride, whatever the options."""

GROUPS = 32
"""Of each group norm in the decoder, fewer where the channels do not divide."""

Triple = tuple[PositiveInt, PositiveInt, PositiveInt]
Pair = tuple[PositiveInt, PositiveInt]


class HiFormerArchitecture(BaseModel):
    """The network's options; the defaults are HiFormer-B.

    Attributes:
        context: neighboring slices seen on either side of the one that is labeled; 1 gives
            the three channels of the paper's input.
        classes: logits for each pixel.
        cnn_dim: middle channels of the first convolutional stage (64: ResNet-50).
        cnn_depths: residual blocks of each stage.
        embed_dim: channels of the fine level; the coarse one has four times as many.
        depths: Swin blocks of each level.
        heads: of each level's attention.
        window: edge of the Swin windows in tokens.
        drop_path: share of samples that skip the last Swin block while training.
        fusion_depths: transformer blocks of the fine and the coarse level in the fusion.
        fusion_heads: of their attention.
        fusion_mlp_ratio: of their blocks.
        order: ``swap_last`` is the authors', in which the swap has no effect; see the fusion.
        decoder_dim: channels at the fine grid.
        head_dim: channels at full resolution.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    context: NonNegativeInt = 1
    classes: PositiveInt = 2
    cnn_dim: PositiveInt = 64
    cnn_depths: Triple = (3, 4, 6)
    embed_dim: PositiveInt = 96
    depths: Triple = (2, 2, 6)
    heads: Triple = (3, 6, 12)
    window: PositiveInt = 7
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    fusion_depths: Pair = (1, 2)
    fusion_heads: Pair = (6, 12)
    fusion_mlp_ratio: PositiveInt = 2
    order: Order = "swap_first"
    decoder_dim: PositiveInt = 128
    head_dim: PositiveInt = 16

    @model_validator(mode="after")
    def _heads_divide(self) -> "HiFormerArchitecture":
        widths = [self.embed_dim * 2**level for level in range(3)]
        fused = zip((widths[0], widths[2]), self.fusion_heads, strict=True)
        for channels, heads in [*zip(widths, self.heads, strict=True), *fused]:
            if channels % heads:
                raise ParamsError(
                    f"hiformer: heads must divide a level's {channels} channels, got {heads}"
                )
        return self

    @property
    def in_channels(self) -> int:
        """Slices seen at once."""
        return 2 * self.context + 1


class HiFormer(nn.Module):
    """Slices in, logits out.

    Args:
        architecture: the options; see there.
        edges: of the slices that positions are learned for; others interpolate them.

    Raises:
        ParamsError: an edge is not a multiple of ``MULTIPLE``.

    Source:
        Heidari et al. 2023; sizes and order of the layers as in the authors' code,
        https://github.com/amirhossein-kz/HiFormer
    """

    def __init__(self, architecture: HiFormerArchitecture, edges: tuple[int, int]) -> None:
        super().__init__()
        if any(edge % MULTIPLE for edge in edges):
            raise ParamsError(f"hiformer: patch edges must be multiples of {MULTIPLE}, got {edges}")
        channels = (architecture.embed_dim, 4 * architecture.embed_dim)
        self.pyramid = Pyramid(
            architecture.in_channels,
            cnn_dim=architecture.cnn_dim,
            cnn_depths=architecture.cnn_depths,
            embed_dim=architecture.embed_dim,
            depths=architecture.depths,
            heads=architecture.heads,
            window=architecture.window,
            drop_path=architecture.drop_path,
        )
        self.fusion = DoubleLevelFusion(
            channels,
            edges=[(edges[0] // stride, edges[1] // stride) for stride in STRIDES],
            depths=architecture.fusion_depths,
            heads=architecture.fusion_heads,
            mlp_ratio=architecture.fusion_mlp_ratio,
            order=architecture.order,
        )
        self.decoder = Decoder(
            channels, architecture.decoder_dim, architecture.head_dim, architecture.classes
        )
        self.apply(initialize)

    def forward(self, image: Features) -> Float[Tensor, "batch classes x y"]:
        """Logits of each pixel.

        Raises:
            ModelError: an edge of the slice is not a multiple of ``MULTIPLE``.
        """
        edges = tuple(image.shape[2:])
        if any(edge % MULTIPLE for edge in edges):
            raise ModelError(f"hiformer: slice edges must be multiples of {MULTIPLE}, got {edges}")
        fine, _, coarse = self.pyramid(image)
        fine, coarse = self.fusion(fine, coarse)
        return self.decoder(fine.movedim(-1, 1), coarse.movedim(-1, 1))


class Decoder(nn.Module):
    """Both levels on the fine grid, summed, then to full resolution.

    Args:
        channels: of the fine and the coarse level.
        width: of the sum.
        head_width: at full resolution.
        classes: logits for each pixel.
    """

    def __init__(
        self, channels: tuple[int, int], width: int, head_width: int, classes: int
    ) -> None:
        super().__init__()
        self.fine = _conv_block(channels[0], width)
        self.coarse = nn.Sequential(
            _conv_block(channels[1], width), _upsample(2), _conv_block(width, width), _upsample(2)
        )
        self.expand = nn.Sequential(nn.Conv2d(width, head_width, 1), nn.ReLU(), _upsample(4))
        self.head = nn.Conv2d(head_width, classes, 3, padding=1)

    def forward(
        self, fine: Features, coarse: Float[Tensor, "batch wide x//4 y//4"]
    ) -> Float[Tensor, "batch classes 4*x 4*y"]:
        """Logits at four times the fine grid."""
        return self.head(self.expand(self.fine(fine) + self.coarse(coarse)))


def initialize(module: nn.Module) -> None:
    """Linear layers as in Swin, convolutions as in ResNet; norms start as the identity."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)


def hiformer(*, patch_size: Patch, **options: Any) -> nn.Module:
    """HiFormer for volumes, slice by slice along z, with fresh weights.

    Args:
        patch_size: of the volumes; x and y must be multiples of ``MULTIPLE``.
        **options: those of ``HiFormerArchitecture`` that differ from HiFormer-B.

    Returns:
        A network from (batch, 1, x, y, z) to logits (batch, classes, x, y, z).

    Raises:
        ParamsError: the patch does not fit.
    """
    architecture = HiFormerArchitecture.model_validate(options)
    network = HiFormer(architecture, patch_size[:2])
    return SliceWise(network, context=architecture.context)


def _conv_block(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        nn.GroupNorm(gcd(GROUPS, channels), channels),
        nn.ReLU(),
    )


def _upsample(factor: int) -> nn.Module:
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)
