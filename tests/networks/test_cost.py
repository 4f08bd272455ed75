from pathlib import Path

import pytest
import torch
from small import patch_of, small
from torch import nn
from torch.utils.checkpoint import checkpoint

from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import ParamsError
from dyntransnet.learning import cost
from dyntransnet.learning.cost import (
    activation_bytes_of,
    build_without_values,
    cost_of,
    document,
    gmacs_of,
)
from dyntransnet.networks.registry import NETWORKS, build

pytestmark = pytest.mark.usefixtures("one_thread")

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
PATCH = (8, 6, 4)
VOXELS = 8 * 6 * 4
GIB = 2**30

# Millions of parameters and GMACs, measured apart from this code with MONAI 1.6.1 and
# segmentation_models_pytorch 0.6.0 on 96 x 96 x 96 voxels (slices: 256 x 256 pixels).
# MedNeXt-S has the 5.6 M of its paper.
MEASURED = {
    "dyntransnet_base": (9.1, 121),
    "dyntransnet_global_p4": (19.6, 163),
    "unetr": (92.8, 73),
    "swin_unetr": (62.2, 318),
    "segresnet": (1.2, 15),
    "dynunet": (16.5, 199),
    "vnet": (45.6, 312),
    "vit_autoenc": (89.1, 20),
    "unet3d": (19.2, 20),
    "unet_plus_plus": (7.0, 530),
    "attention_unet": (16.7, 163),
    "mednext": (5.6, 53),
    "deeplabv3_plus": (26.7, 9.1),
    "unet2d": (24.4, 7.8),
}


def spec(name: str, **options) -> NetworkSpec:
    return NetworkSpec(name=name, options=options)


def two_convolutions() -> nn.Module:
    """27 * 1 * 4 + 4 * 2 = 116 multiply-adds a voxel."""
    with torch.device("meta"):
        return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 1))


@pytest.mark.parametrize("name", MEASURED)
def test_defaults_cost_what_was_measured(name):
    parameters, gmacs = MEASURED[name]
    patch = (256, 256, 1) if "slices" in NETWORKS[name].factory.__module__ else (96, 96, 96)
    network = build_without_values(spec(name), patch)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters * 1e6, rel=0.02)
    assert gmacs_of(network, patch) == pytest.approx(gmacs, rel=0.05)


def test_multiply_adds_of_two_convolutions():
    assert gmacs_of(two_convolutions(), PATCH) == pytest.approx(116 * VOXELS / 1e9)


@pytest.mark.parametrize("batch", [1, 3])
def test_activations_of_two_convolutions(batch):
    # the first keeps the image, ReLU and the second share its result; both are fp32
    kept = activation_bytes_of(two_convolutions(), PATCH, batch=batch, precision="fp32")
    assert kept == 4 * (1 + 4) * VOXELS * batch


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_half_of_them(precision):
    # and the weights in half precision as well
    kept = activation_bytes_of(two_convolutions(), PATCH, batch=1, precision=precision)
    assert kept == 2 * (1 + 4) * VOXELS + 2 * (27 * 4 + 4 * 2)


def test_recomputed_activations_are_not_kept():
    class Recomputed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = two_convolutions()

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.body, image, use_reentrant=False)

    assert activation_bytes_of(Recomputed(), PATCH, batch=1, precision="fp32") == 4 * VOXELS


def test_counted_activations_are_those_of_a_real_step():
    wanted = small("dyntransnet_tiny")
    network, kept = build(wanted, patch_of(wanted)), {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(torch.zeros(2, 1, *patch_of(wanted)))
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    expected = sum(storage.nbytes() for key, storage in kept.items() if key not in own)
    counted = cost_of(wanted, patch_of(wanted), batch=2).activation_bytes
    assert counted == pytest.approx(expected, rel=0.01)


def test_base_keeps_what_was_measured_in_half_precision():
    kept = cost_of(spec("dyntransnet_base"), (96, 96, 96), precision="bf16").activation_bytes
    assert kept / GIB == pytest.approx(1.48, rel=0.15)


def test_supervision_costs_its_heads():
    plain, deep = (
        cost_of(small("mednext", deep_supervision=on), (32, 16, 48)).parameters
        for on in (False, True)
    )
    assert deep - plain == sum(4 * 2**level * 2 + 2 for level in range(1, 5))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_is_counted(name):
    wanted = small(name)
    counted = cost_of(wanted, patch_of(wanted), batch=2, precision="bf16")
    parameters = sum(p.numel() for p in build(wanted, patch_of(wanted)).parameters())
    assert counted.parameters == parameters
    assert counted.gmacs > 0
    assert counted.activation_bytes > 0


def test_a_small_patch_tells_what_a_linear_network_costs():
    wanted = small("lightm_unet")
    scaled = cost_of(wanted, (16, 24, 8))
    network = build_without_values(wanted, (16, 24, 8))
    whole = activation_bytes_of(network, (16, 24, 8), batch=1, precision="fp32")
    assert scaled.gmacs == pytest.approx(gmacs_of(network, (16, 24, 8)), rel=0.05)
    assert scaled.activation_bytes == pytest.approx(whole, rel=0.05)


def test_counting_draws_no_random_numbers():
    before = torch.get_rng_state()
    cost_of(small("swin_unetr"), (64, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_are_counted_without_memory():
    network = build_without_values(spec("unetr"), (96, 96, 96))
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


def test_patch_that_does_not_fit_is_rejected():
    with pytest.raises(ParamsError, match="must be multiples of 32 for swin_unetr"):
        cost_of(spec("swin_unetr"), (48, 32, 32))


def test_page_has_a_row_for_every_network(monkeypatch):
    monkeypatch.setattr(cost, "NETWORKS", {name: NETWORKS[name] for name in ("vnet", "unet2d")})
    *_, first, second = document((32, 32, 16)).splitlines()
    assert first.startswith("| `vnet` | MONAI | 45.60 | ")
    assert "| (32, 32, 1) | yes | <https://arxiv.org/abs/1505.04597> |" in second


def test_page_is_what_the_code_gives():
    assert PAGE.read_text() == document(), "run: dyntransnet networks --out docs/networks.md"
