import pytest
import torch
from torch import nn

from dyntransnet.networks.blocks import (
    NEGATIVE_SLOPE,
    Concatenation,
    DecoderStep,
    FeatureMixModule,
    PatchEmbedding,
    PatchMerging,
    ResidualModule,
    WeightedSum,
    plain_module,
)

SHAPE = (2, 8, 4, 6, 5)


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


def test_gate_is_a_share_of_each_voxel(maps):
    alpha = FeatureMixModule(8).alpha(*maps)
    assert alpha.shape == (2, 1, 4, 6, 5)
    assert (alpha > 0).all()
    assert (alpha < 1).all()


def test_open_gate_makes_fmm_its_concatenation_twin(maps):
    fmm, twin = FeatureMixModule(8), Concatenation(8)
    twin.fuse = fmm.fuse
    nn.init.constant_(fmm.psi.bias, 1e3)
    torch.testing.assert_close(fmm(*maps), twin(*maps))


def test_closed_gate_hides_the_skip(maps):
    skip, decoder = maps
    fmm = FeatureMixModule(8)
    nn.init.constant_(fmm.psi.bias, -1e3)
    torch.testing.assert_close(fmm(skip, decoder), fmm(-skip, decoder))


def test_weighted_sum_starts_as_the_mean(maps):
    skip, decoder = maps
    twin = WeightedSum(8)
    torch.testing.assert_close(twin(skip, decoder), twin.fuse((skip + decoder) / 2))


def test_residual_module_without_weights_adds_only_the_norm_bias(maps):
    features, _ = maps
    module = ResidualModule(8)
    last = module.blocks[1]
    for block in module.blocks:
        nn.init.zeros_(block[0].weight)
    last[1].bias.data = torch.linspace(-1, 1, 8)
    added = nn.functional.leaky_relu(last[1].bias, NEGATIVE_SLOPE).view(8, 1, 1, 1)
    torch.testing.assert_close(module(features), features + added)


def test_plain_module_is_the_residual_module_without_its_identity(maps):
    features, _ = maps
    module, twin = ResidualModule(8), plain_module(8)
    twin.load_state_dict(module.blocks.state_dict())
    torch.testing.assert_close(module(features), features + twin(features))


def test_instance_norm_keeps_its_precision_under_autocast():
    features = torch.randn(1, 4, 16, 16, 16).bfloat16() + 8
    norm = nn.InstanceNorm3d(4, affine=True)
    with torch.autocast("cpu", torch.bfloat16):
        normalized = norm(features).float()
    torch.testing.assert_close(normalized, norm(features.float()), rtol=0.01, atol=0.01)


def test_a_token_is_one_patch():
    embed = PatchEmbedding(1, 4, patch=2)
    image = torch.zeros(1, 1, 4, 6, 8)
    changed = image.clone()
    changed[0, 0, 2:4, 4:6, 0:2] = 1
    touched = (embed(image) != embed(changed)).any(-1).nonzero()
    assert touched.tolist() == [[0, 1, 2, 0]]


def test_merging_halves_the_grid_and_doubles_the_channels():
    assert PatchMerging(4)(torch.randn(2, 4, 6, 8, 4)).shape == (2, 2, 3, 4, 8)


def test_a_merged_token_is_its_eight_neighbors():
    merge = PatchMerging(2)
    grid = torch.randn(1, 4, 6, 8, 2)
    changed = grid.clone()
    changed[0, 2:4, 4:6, 0:2] += torch.randn(2, 2, 2, 2)
    touched = (merge(grid) != merge(changed)).any(-1).nonzero()
    assert touched.tolist() == [[0, 1, 2, 0]]


@pytest.mark.parametrize("fusion", ["fmm", "concat", "weighted_sum"])
def test_decoder_step_doubles_the_grid(fusion):
    step = DecoderStep(16, 8, fusion=fusion, refine="residual")
    assert step(torch.randn(2, 16, 2, 3, 4), torch.randn(2, 8, 4, 6, 8)).shape == (2, 8, 4, 6, 8)


def test_decoder_step_without_fusion_needs_no_skip():
    step = DecoderStep(16, 8, fusion=None, refine="plain")
    assert step(torch.randn(2, 16, 2, 3, 4), None).shape == (2, 8, 4, 6, 8)
