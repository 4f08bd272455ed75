"""A torch network as one ONNX file that every runtime computes alike.

An instance norm averages all voxels of a window. Runtimes add those up in fp32 in their
own ways, and errors of 1e-2 in the logits were seen (docs/decisions/0011-norms.md), so
the file holds sums that are short whoever computes them.
"""

import copy
import logging
import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dyntransnet.contract import Contract
from dyntransnet.repository import MAX_BATCH_SIZE


def write_onnx(network: nn.Module, path: Path, contract: Contract, opset: int) -> None:
    """Write a network with named tensors and a free batch size.

    Args:
        network: left as it is; its weights are copied.
        path: the file, which holds the weights too.
        contract: tensor names and window size.
        opset: of the ONNX standard.
    """
    portable = with_short_sums(copy.deepcopy(network).cpu().eval())
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH_SIZE)
    # torch tells at each export which optional packages it does without.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*treespec.*", category=FutureWarning)
        torch.onnx.export(
            portable,
            (torch.zeros(2, 1, *contract.patch_size),),
            path,
            input_names=[contract.input_name],
            output_names=[contract.output_name],
            opset_version=opset,
            dynamic_shapes=({0: batch},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def with_short_sums(network: nn.Module) -> nn.Module:
    """Put ``ShortSumNorm`` in the place of every 3D instance norm, in place."""
    for name, module in network.named_children():
        if isinstance(module, nn.InstanceNorm3d):
            setattr(network, name, ShortSumNorm(module))
        else:
            with_short_sums(module)
    return network


class ShortSumNorm(nn.Module):
    """An instance norm whose means are means of rows of means.

    Each mean is a product with a short constant column: sums of at most one edge of the
    window, in a form that no runtime fuses back into its own norm.

    Args:
        norm: what it computes, in evaluation as in training: it keeps no statistics.
    """

    def __init__(self, norm: nn.InstanceNorm3d) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Float[Tensor, "n c x y z"]) -> Float[Tensor, "n c x y z"]:
        """Center, scale, and apply the affine weights where the norm has them."""
        centered = x - _mean(x)
        scale = torch.rsqrt(_mean(centered * centered) + self.eps)
        if self.weight is None:
            return centered * scale
        return centered * (scale * _per_channel(self.weight)) + _per_channel(self.bias)


def _mean(x: Float[Tensor, "n c x y z"]) -> Float[Tensor, "n c 1 1 1"]:
    for axis in (4, 3, 2):
        edge = x.shape[axis]
        x = x.movedim(axis, -1) @ torch.full((edge, 1), 1.0 / edge, dtype=x.dtype)
        x = x.movedim(-1, axis)
    return x


def _per_channel(values: Float[Tensor, " c"]) -> Float[Tensor, "c 1 1 1"]:
    return values[:, None, None, None]
