"""Small networks, exported as ``export`` does, with what makes half precision fail in them."""

from pathlib import Path

import torch
from torch import nn

from builders import contract_of
from dyntransnet.atomic import sha256_of
from dyntransnet.contract import ONNX_FILE, Contract
from dyntransnet.runtimes.onnx_writer import write_onnx

PATCH = (6, 4, 10)


class Residual(nn.Module):
    """Two norms whose sum is read: the second is no bias of the first."""

    def __init__(self, *, affine: bool = False, gain: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(1, 4, 1)
        self.norms = nn.ModuleList(nn.InstanceNorm3d(4, affine=affine) for _ in range(2))
        self.last = nn.Conv3d(4, 2, 1)
        self.first.weight.data *= gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.norms[0](self.first(x))
        return self.last(torch.relu(first + self.norms[1](self.second(x))))


def exported(folder: Path, network: nn.Module) -> Contract:
    """A model folder of a network whose parameters are all unlike."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    folder.mkdir(parents=True)
    contract = contract_of(patch_size=PATCH)
    write_onnx(network.eval(), folder / ONNX_FILE, contract, 20)
    signed = contract.model_copy(update={"model_sha256": sha256_of(folder / ONNX_FILE)})
    signed.save(folder)
    return signed
