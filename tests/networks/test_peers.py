import copy

import pytest
import torch
from monai.networks.nets import BasicUNetPlusPlus, DynUNet, ViTAutoEnc
from small import patch_of, small, window_of

from dyntransnet.networks.peers import dynunet, mednext, unet_plus_plus, vit_autoenc
from dyntransnet.networks.registry import build

pytestmark = pytest.mark.usefixtures("one_thread")

PATCH = (32, 16, 48)


def image() -> torch.Tensor:
    return torch.randn(2, 1, *PATCH, generator=torch.Generator().manual_seed(1))


def monai_dynunet(**options) -> DynUNet:
    widths, strides = [4, 8, 16, 32, 64], [1, 2, 2, 2, 2]
    return DynUNet(3, 1, 2, [3] * 5, strides, [2] * 4, filters=widths, **options)


def seeded(factory):
    torch.manual_seed(3)
    return factory()


def test_dynunet_is_monais():
    ours = seeded(lambda: dynunet(patch_size=PATCH, filters=4)).eval()
    theirs = seeded(monai_dynunet).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(image()), theirs(image()))


def test_supervised_dynunet_has_monais_logits_before_they_are_blown_up():
    ours = seeded(lambda: dynunet(patch_size=PATCH, filters=4, deep_supervision=True))
    theirs = seeded(lambda: monai_dynunet(deep_supervision=True, deep_supr_num=2))
    with torch.no_grad():
        finest, *coarser = ours(image())
        blown_up = theirs(image()).unbind(1)
    torch.testing.assert_close(finest, blown_up[0])
    for level, logits in enumerate(coarser, 1):
        assert logits.shape[2:] == tuple(edge // 2**level for edge in PATCH)
        torch.testing.assert_close(
            logits, blown_up[level][..., :: 2**level, :: 2**level, :: 2**level]
        )


def test_nested_decoders_answer_the_deepest_first():
    ours = seeded(lambda: unet_plus_plus(patch_size=PATCH, filters=4, deep_supervision=True))
    theirs = seeded(lambda: BasicUNetPlusPlus(features=(4, 4, 8, 16, 32, 4), deep_supervision=True))
    with torch.no_grad():
        for level, expected in zip(ours(image()), theirs(image())[::-1], strict=True):
            torch.testing.assert_close(level, expected)
        torch.testing.assert_close(ours.eval()(image()), theirs(image())[-1])


def test_nested_decoders_without_supervision_keep_the_last_head_alone():
    network = unet_plus_plus(patch_size=PATCH, filters=4)
    heads = {name.split(".")[1] for name, _ in network.named_parameters() if "final" in name}
    assert heads == {"final_conv_0_4"}


def test_mednext_halves_the_grid_from_level_to_level():
    logits = mednext(patch_size=PATCH, init_filters=4, deep_supervision=True)(image())
    expected = [tuple(edge // 2**level for edge in PATCH) for level in range(5)]
    assert [tuple(level.shape[2:]) for level in logits] == expected


def test_vit_autoenc_returns_its_logits_alone():
    options = {"hidden_size": 24, "mlp_dim": 48}
    ours = seeded(lambda: vit_autoenc(patch_size=PATCH, layers=2, heads=2, **options)).eval()
    theirs = ViTAutoEnc(1, PATCH, (16, 16, 16), 2, num_layers=2, num_heads=2, **options).eval()
    theirs.load_state_dict(ours.network.state_dict(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(ours(image()), theirs(image())[0])


@pytest.mark.parametrize("name", ["dynunet", "mednext", "unet_plus_plus"])
def test_a_supervised_network_can_be_copied_between_steps(name):
    wanted = small(name, deep_supervision=True)
    network = build(wanted, patch_of(wanted))
    network(window_of(wanted)[0])[0].sum().backward()
    copied = copy.deepcopy(network)
    assert copied.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("name", ["unetr", "vit_autoenc"])
def test_positions_fit_one_patch_size(name):
    wanted = small(name)
    network = build(wanted, patch_of(wanted)).eval()
    with pytest.raises(RuntimeError, match="must match the size"):
        network(torch.zeros(1, 1, 32, 32, 48))
