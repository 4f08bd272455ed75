"""Every network that can become an ONNX file, written as one."""

from pathlib import Path

import pytest
import torch
from small import patch_of, small, window_of

from builders import contract_of
from dyntransnet.atomic import sha256_of
from dyntransnet.contract import ONNX_FILE
from dyntransnet.networks.registry import NETWORKS, build
from dyntransnet.runtimes.onnx_writer import write_onnx

SLOW = {"dyntransnet_base", "dyntransnet_global_p4", "swin_unetr", "unet_plus_plus", "unetr"}
EXPORTED = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name, entry in NETWORKS.items()
    if not entry.not_exportable
]


def export(name: str, folder: Path) -> torch.nn.Module:
    """Write a network's model folder, and give the network."""
    torch.manual_seed(0)
    spec = small(name)
    contract = contract_of(network=spec, patch_size=patch_of(spec))
    network = settled(build(spec, patch_of(spec)), window_of(spec, 2)[0])
    write_onnx(network, folder / ONNX_FILE, contract, 20)
    digest = sha256_of(folder / ONNX_FILE)
    contract.model_copy(update={"model_sha256": digest}).save(folder)
    return network


def settled(network: torch.nn.Module, image: torch.Tensor) -> torch.nn.Module:
    """With norms and biases unlike those that a network starts with."""
    generator = torch.Generator().manual_seed(7)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    with torch.no_grad():
        network.train()(image)
    return network.eval()
