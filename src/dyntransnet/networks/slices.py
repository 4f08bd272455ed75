"""Networks for slices, run on volumes: one axial slice at a time, its neighbors as channels."""

from importlib import import_module
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, validate_call
from torch import Tensor, nn

from dyntransnet.networks.peers import CLASSES, Patch

Encoder = Literal["mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101"]
"""Encoders of segmentation_models_pytorch, light ones first."""

NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class SliceWise(nn.Module):
    """A network of axial slices as one of volumes; z may be of any length.

    Each slice becomes one image. Its channels are the slice and its neighbors below and
    above, in the order of z; at both ends of the volume the last slice stands in.

    Args:
        network: (batch, 2 * context + 1, x, y) to logits (batch, classes, x, y).
        context: neighbors on each side.
    """

    def __init__(self, network: nn.Module, *, context: int = 1) -> None:
        super().__init__()
        self.network = network
        self.context = context

    def forward(
        self, image: Float[Tensor, "batch 1 x y z"]
    ) -> Float[Tensor, "batch classes x y z"]:
        """Logits of each voxel, from its own slice and the slices around it."""
        logits = self.network(self.slices(image))
        return logits.unflatten(0, (image.shape[0], image.shape[4])).movedim(1, -1)

    def slices(
        self, image: Float[Tensor, "batch 1 x y z"]
    ) -> Float[Tensor, "batch*z channels x y"]:
        """Every slice of every volume with its neighbors, volume by volume."""
        ends = [self.context * [image[..., :1]], self.context * [image[..., -1:]]]
        padded = torch.cat([*ends[0], image, *ends[1]], -1)
        shifts = range(2 * self.context + 1)
        stack = torch.cat([padded[..., shift : shift + image.shape[4]] for shift in shifts], 1)
        return stack.movedim(-1, 1).flatten(0, 1)


@validate_call
def deeplabv3_plus(
    *, patch_size: Patch, encoder: Encoder = "resnet50", context: NonNegativeInt = 1
) -> nn.Module:
    """DeepLabv3+ on slices, with fresh weights.

    Source:
        Chen et al., Encoder-decoder with atrous separable convolution,
        https://arxiv.org/abs/1802.02611
    """
    network = segmentation_models().DeepLabV3Plus(
        encoder, encoder_weights=None, in_channels=2 * context + 1, classes=CLASSES
    )
    return SliceWise(network, context=context)


@validate_call
def unet2d(
    *, patch_size: Patch, encoder: Encoder = "resnet34", context: NonNegativeInt = 1
) -> nn.Module:
    """U-Net on slices, with fresh weights.

    Source:
        Ronneberger et al., U-Net, https://arxiv.org/abs/1505.04597
    """
    network = segmentation_models().Unet(
        encoder, encoder_weights=None, in_channels=2 * context + 1, classes=CLASSES
    )
    return SliceWise(network, context=context)


def segmentation_models() -> Any:
    """segmentation_models_pytorch, also where torchvision was built for another torch.

    PyPI's torchvision is for CUDA. Beside a torch for the CPU its operators do not load, and
    then importing it fails on two that it describes; the networks here use neither.
    """
    try:
        import_module("torchvision")
    except RuntimeError:
        for name in ("torchvision::nms", "torchvision::qnms"):
            torch.library.define(name, NMS)
    return import_module("segmentation_models_pytorch")
