"""The encoder: a ResNet's first stages beside Swin stages, each level the sum of both."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dyntransnet.networks.hiformer.swin import PatchMerging, SwinStage

Features = Float[Tensor, "batch channels x y"]

EXPANSION = 4
"""A bottleneck's result has this many times the channels of its middle."""


class Bottleneck(nn.Module):
    """Residual block of a ResNet-50: 1 x 1, 3 x 3, 1 x 1, batch norm after each.

    Source:
        He et al., Deep residual learning, https://arxiv.org/abs/1512.03385
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.branch = nn.Sequential(
            *_conv(in_channels, channels, 1),
            nn.ReLU(),
            *_conv(channels, channels, 3, stride),
            nn.ReLU(),
            *_conv(channels, wide, 1),
        )
        fits = stride == 1 and in_channels == wide
        self.shortcut = (
            nn.Identity() if fits else nn.Sequential(*_conv(in_channels, wide, 1, stride))
        )

    def forward(self, features: Features) -> Float[Tensor, "batch wide x2 y2"]:
        """Refine a map, on a coarser grid where the stride says so."""
        return torch.relu(self.shortcut(features) + self.branch(features))


class Pyramid(nn.Module):
    """Three levels at strides 4, 8 and 16; from each, the transformer's map goes to the next.

    Args:
        in_channels: of the slice.
        cnn_dim: middle channels of the first convolutional stage; each further doubles them.
        cnn_depths: residual blocks of each stage.
        embed_dim: channels of the first level; each further doubles them.
        depths: Swin blocks of each level.
        heads: of each level's attention.
        window: edge of the attention windows in tokens.
        drop_path: of the last Swin block; the rates before it rise linearly from zero.

    Source:
        Heidari et al. 2023.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        cnn_dim: int,
        cnn_depths: Sequence[int],
        embed_dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        widths = [embed_dim * 2**level for level in range(len(depths))]
        self.stem = nn.Sequential(
            *_conv(in_channels, cnn_dim, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)
        )
        self.convolutions = nn.ModuleList(_residual_stages(cnn_dim, cnn_depths))
        self.laterals = nn.ModuleList(
            nn.Conv2d(EXPANSION * cnn_dim * 2**level, width, 1)
            for level, width in enumerate(widths)
        )
        self.merges = nn.ModuleList(PatchMerging(width) for width in widths[:-1])
        last = max(sum(depths) - 1, 1)
        rates = [drop_path * index / last for index in range(sum(depths))]
        self.transformers = nn.ModuleList(
            SwinStage(width, of_level, window=window, drop_path=rates[start:stop])
            for width, of_level, (start, stop) in zip(
                widths, heads, pairwise(accumulate(depths, initial=0)), strict=True
            )
        )

    def forward(self, image: Features) -> list[Float[Tensor, "batch _ _ _"]]:
        """The levels as grids, from fine to coarse."""
        features = self.stem(image)
        levels: list[Tensor] = []
        for index, convolution in enumerate(self.convolutions):
            features = convolution(features)
            local = self.laterals[index](features).movedim(1, -1)
            start = self.merges[index - 1](levels[-1]) if levels else local
            levels.append(local + self.transformers[index](start))
        return levels


def _residual_stages(channels: int, depths: Sequence[int]) -> Iterator[nn.Sequential]:
    in_channels, stride = channels, 1
    for level, depth in enumerate(depths):
        width = channels * 2**level
        first = Bottleneck(in_channels, width, stride=stride)
        in_channels, stride = EXPANSION * width, 2
        rest = (Bottleneck(in_channels, width, stride=1) for _ in range(depth - 1))
        yield nn.Sequential(first, *rest)


def _conv(in_channels: int, channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(channels)]
