import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import binary_cross_entropy_with_logits, group_norm

from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.networks.lightm_unet import (
    DecoderStep,
    MambaBlock,
    ResidualVisionMamba,
    SeparableBlock,
    edge_multiple,
    lightm_unet,
)

PATCH = (8, 16, 24)


def small(**options) -> torch.nn.Module:
    torch.manual_seed(0)
    return lightm_unet(patch_size=PATCH, **{"init_filters": 8, "states": 4} | options)


def image(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 1, *PATCH, generator=torch.Generator().manual_seed(1))


def rvm_layer(channels: int = 8, width: int = 8) -> ResidualVisionMamba:
    torch.manual_seed(0)
    return ResidualVisionMamba(channels, width, states=4, expand=2)


def parameters(**options) -> int:
    return sum(p.numel() for p in lightm_unet(patch_size=PATCH, **options).parameters())


def reference_parameters(filters: int) -> int:
    """Of the reference code, layer for layer; one-channel image, two classes."""

    def mamba(c: int, inner: int, states: int = 16) -> int:
        rank = -(-c // 16)
        conv, scan = 4 * inner + inner, inner * (rank + 2 * states) + rank * inner + inner
        return c * 2 * inner + conv + scan + inner * states + inner + inner * c

    def rvm(c: int, width: int) -> int:
        return 2 * c + mamba(c, 2 * c) + c * width + width + 1

    widths = [filters * 2**stage for stage in range(4)]
    blocks = sum(n * 2 * (2 * c + rvm(c, c)) for n, c in zip((1, 2, 2, 4), widths, strict=True))
    downs = sum(rvm(c, 2 * c) for c in widths[:-1])
    ups = sum(2 * c * c + 4 * c + 27 * c + c * c + 1 for c in widths[:-1])
    stem, head = 27 + filters, 2 * filters + 2 * filters + 2 * filters + 2
    return stem + blocks + downs + ups + head


@pytest.mark.parametrize(("filters", "published"), [(32, 5.0e6), (16, 1.3e6)])
def test_network_is_as_large_as_the_reference(filters, published):
    assert parameters(init_filters=filters) == reference_parameters(filters)
    assert parameters(init_filters=filters) == pytest.approx(published, rel=0.05)


def test_defaults_are_the_reference_trainers():
    assert parameters() == parameters(
        init_filters=32, states=16, expand=2, blocks_down=(1, 2, 2, 4)
    )


@pytest.mark.parametrize("options", [{}, {"expand": 1}, {"blocks_down": [1, 1]}], ids=str)
def test_logits_lie_on_the_grid_of_the_image(options):
    with torch.no_grad():
        assert small(**options)(image()).shape == (2, 2, *PATCH)


def test_gradient_reaches_every_parameter():
    network = small()
    (network(image()) * torch.randn(2, 2, *PATCH)).sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_a_training_step_lowers_the_loss():
    network = small()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    truth = (image() > 0).float().expand(-1, 2, -1, -1, -1)
    losses = []
    for _ in range(3):
        loss = binary_cross_entropy_with_logits(network(image()), truth)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]


def test_a_sample_does_not_depend_on_the_others():
    network, batch = small().double(), image(3).double()
    with torch.no_grad():
        torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]))


def test_bfloat16_stays_near_float32():
    network = small()
    with torch.no_grad():
        logits = network(image())
        with torch.autocast("cpu", torch.bfloat16):
            half = network(image())
    # Norm upon norm: what bf16 rounds away comes back some forty times as large.
    assert (half.float() - logits).abs().mean() < 0.2 * logits.std()


def test_a_voxel_sees_those_before_it_in_rows_along_z():
    layer, features = rvm_layer(), torch.randn(1, 8, 3, 4, 5)
    changed = features.clone()
    changed[0, :, 1, 2, 3] += torch.randn(8)
    with torch.no_grad():
        differs = (layer(features) != layer(changed)).any(1).flatten()
    voxel = (1 * 4 + 2) * 5 + 3
    assert not differs[:voxel].any()
    assert differs[voxel : voxel + 4].all()


def test_without_mamba_an_rvm_layer_is_a_scaled_and_normed_projection():
    layer, features = rvm_layer(width=16), torch.randn(2, 8, 3, 4, 5)
    torch.nn.init.zeros_(layer.mamba.out_proj.weight)
    torch.nn.init.constant_(layer.skip_scale, -0.5)
    with torch.no_grad():
        expected = layer.project(layer.norm(-0.5 * features.movedim(1, -1))).movedim(-1, 1)
        torch.testing.assert_close(layer(features), expected)


def test_a_silent_mamba_block_is_the_identity():
    block, features = MambaBlock(8, states=4, expand=2), torch.randn(1, 8, 3, 4, 5)
    for parameter in block.blocks[1][2].project.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        assert torch.equal(block(features), features)


def test_without_the_residual_an_rvm_layer_ignores_the_scale_of_its_input():
    layer, features = rvm_layer(), torch.randn(1, 8, 3, 4, 5)
    torch.nn.init.zeros_(layer.skip_scale)
    with torch.no_grad():
        torch.testing.assert_close(layer(100 * features), layer(features), rtol=1e-3, atol=1e-3)


def test_separable_block_with_an_identity_convolution_is_known():
    block, features = SeparableBlock(8), torch.randn(1, 8, 3, 4, 5)
    torch.nn.init.dirac_(block.conv[0].weight, groups=8)
    torch.nn.init.dirac_(block.conv[1].weight)
    torch.nn.init.constant_(block.skip_scale, -0.5)
    with torch.no_grad():
        expected = group_norm(group_norm(features, 8).relu() - 0.5 * features, 8).relu()
        torch.testing.assert_close(block(features), expected)


def test_decoder_refines_the_sum_of_both_maps():
    torch.manual_seed(0)
    step, skip = DecoderStep(8), torch.randn(1, 8, 4, 6, 8)
    constant = torch.randn(1, 16, 1, 1, 1)
    with torch.no_grad():
        added = step.reduce(constant).expand_as(skip)
        found = step(constant.expand(1, 16, 2, 3, 4), skip)
        torch.testing.assert_close(found, step.refine(added + skip))


@pytest.mark.parametrize(("blocks", "multiple"), [((1,), 1), ((2, 1), 2), ((1, 2, 2, 4), 8)])
def test_each_stage_but_the_first_halves_the_edges(blocks, multiple):
    assert edge_multiple(blocks) == multiple
    edges = (multiple, 2 * multiple, 3 * multiple)
    network = lightm_unet(patch_size=edges, init_filters=8, blocks_down=blocks)
    with torch.no_grad():
        assert network(torch.zeros(1, 1, *edges)).shape == (1, 2, *edges)


def test_patch_that_is_no_multiple_is_rejected():
    with pytest.raises(ParamsError, match=r"must hold multiples of 8, got \(8, 12, 16\)"):
        lightm_unet(patch_size=(8, 12, 16))


def test_image_that_is_no_multiple_is_rejected():
    with pytest.raises(ModelError, match=r"must be multiples of 8, got \(8, 12, 16\)"):
        small()(torch.zeros(1, 1, 8, 12, 16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_filters": 12}, "init_filters\n.*multiple of 8"),
        ({"blocks_down": ()}, "blocks_down\n.*at least 1 item"),
        ({"depth": 3}, "depth\n.*Unexpected"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValidationError, match=message):
        small(**options)
