"""What networks of others return, as logits: the finest in evaluation, all in training."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

Image = Float[Tensor, "batch 1 x y z"]
Logits = Float[Tensor, "batch classes x y z"]
CoarserLogits = Float[Tensor, "batch classes _ _ _"]


class FinestFirst(nn.Module):
    """A network that returns several things, as one that returns logits.

    Args:
        network: what runs.
        order: its result as a list of logits, the finest first.
    """

    def __init__(self, network: nn.Module, order: Callable[[Any], list[Tensor]]) -> None:
        super().__init__()
        self.network = network
        self.order = order

    def forward(self, image: Image) -> Logits | list[CoarserLogits]:
        """All logits in training if there are several, else the finest."""
        logits = self.order(self.network(image))
        return logits if self.training and len(logits) > 1 else logits[0]


class Supervised(nn.Module):
    """DynUNet's blocks, with the logits of each level at its own resolution.

    MONAI blows them up to full resolution, keeps them between calls, and registers
    each block twice.

    Args:
        network: MONAI's DynUNet, whose blocks are used.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.down = nn.ModuleList([network.input_block, *network.downsamples])
        self.bottleneck = network.bottleneck
        self.up = network.upsamples
        self.head = network.output_block
        self.coarse_heads = nn.ModuleList(
            network.deep_supervision_heads if network.deep_supervision else []
        )

    def forward(self, image: Image) -> Logits | list[CoarserLogits]:
        """All logits in training under deep supervision, the finest first, else these alone."""
        skips = [image]
        for block in self.down:
            skips.append(block(skips[-1]))
        maps = [self.bottleneck(skips[-1])]
        for block in self.up:
            maps.append(block(maps[-1], skips.pop()))
        logits = self.head(maps.pop())
        if not self.training or not self.coarse_heads:
            return logits
        return [logits, *(head(maps.pop()) for head in self.coarse_heads)]


def logits_alone(outputs: tuple[Tensor, list[Tensor]]) -> list[Tensor]:
    """Drop the hidden states that follow the logits."""
    return [outputs[0]]


def last_first(outputs: list[Tensor]) -> list[Tensor]:
    """From the deepest decoder's logits to the shallowest's."""
    return outputs[::-1]


def as_list(outputs: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    """One tensor or several, finest first as they are."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
