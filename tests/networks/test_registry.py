import pytest
import torch
from small import SMALL, SUPERVISED, patch_of, small, window_of
from torch.nn.functional import binary_cross_entropy_with_logits

from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.learning.loop import CHANNELS_LAST, put_channels_last
from dyntransnet.networks import registry
from dyntransnet.networks.registry import (
    NETWORKS,
    Entry,
    build,
    check_exportable,
    check_sizes,
    multiple_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = sorted(NETWORKS)
DEEP = [*SUPERVISED, "dyntransnet_tiny"]


def spec(name: str, **options) -> NetworkSpec:
    return NetworkSpec(name=name, options=options)


def built(name: str, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    wanted = small(name, **options)
    return build(wanted, patch_of(wanted))


def test_every_network_has_small_options():
    assert set(SMALL) == set(NETWORKS)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ParamsError, match=r"network.name must be one of dyntransnet_base, .* got 'u'"
    ):
        build(spec("u"), (32, 32, 32))


@pytest.mark.parametrize("name", EVERY)
def test_unknown_option_is_named(name):
    with pytest.raises(ParamsError, match=rf"network\.options\.dpth must fit {name}: .*got 7"):
        build(spec(name, dpth=7), (64, 32, 96))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dyntransnet_tiny", {"fusion": "sum"}, r"fusion must fit .*'fmm', 'concat'.*got 'sum'"),
        ("unetr", {"heads": 0}, r"heads must fit unetr: .*greater than 0, got 0"),
        ("swin_unetr", {"feature_size": 16}, r"feature_size must fit .*multiple of 12, got 16"),
        ("swin_unetr", {"depths": [2, 2]}, r"depths\.2 must fit swin_unetr: .*"),
        ("unet2d", {"encoder": "vgg11"}, r"encoder must fit unet2d: .*'mobilenet_v2'.*'vgg11'"),
        ("lightm_unet", {"blocks_down": 3}, r"blocks_down must fit .*tuple, got 3"),
        ("unetr", {"patch_size": [8, 8, 8]}, r"patch_size must be left to train\.patch_size"),
    ],
)
def test_option_out_of_range_is_named(name, options, message):
    with pytest.raises(ParamsError, match=rf"network\.options\.{message}"):
        build(spec(name, **options), (32, 64, 96))


def test_options_that_do_not_fit_together_are_rejected():
    with pytest.raises(ParamsError, match=r"network\.options must fit unetr: .*hidden.size.*'hea"):
        build(spec("unetr", heads=7), (32, 64, 96))


@pytest.mark.parametrize("name", EVERY)
def test_patch_that_a_network_cannot_divide_is_rejected_unbuilt(name, monkeypatch):
    def factory(**_options):
        pytest.fail("must not be built")

    wanted = small(name)
    asked = (NETWORKS[name].multiple, NETWORKS[name].origin, NETWORKS[name].source)
    monkeypatch.setitem(registry.NETWORKS, name, Entry(factory, *asked))
    x, y, z = patch_of(wanted)
    with pytest.raises(ParamsError, match=rf"train\.patch_size: must be .* for {name}, got \("):
        build(wanted, (x, y + multiple_of(wanted)[1] // 2, z))


@pytest.mark.parametrize(
    ("name", "patch_size", "message"),
    [
        ("unetr", (64, 64, 40), r"must be multiples of 16 for unetr, got \(64, 64, 40\)"),
        (
            "unet2d",
            (48, 32, 5),
            r"must be multiples of \(32, 32, 1\) for unet2d, got \(48, 32, 5\)",
        ),
    ],
)
def test_rejected_patch_is_told_what_fits(name, patch_size, message):
    with pytest.raises(ParamsError, match=message):
        build(spec(name), patch_size)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_fit_tiles_of_another_size_or_tiles_are_refused(name):
    wanted = small(name)
    patch, tile = patch_of(wanted), tuple(2 * edge for edge in patch_of(wanted))
    learned, served = build(wanted, patch).eval(), build(wanted, tile).eval()
    if NETWORKS[name].has_one_size:
        with pytest.raises(RuntimeError, match="size mismatch"):
            served.load_state_dict(learned.state_dict())
        with pytest.raises(ParamsError, match=f"tile_size: must be null for {name}"):
            check_sizes(wanted, patch, tile)
        check_sizes(wanted, patch, patch)
    else:
        served.load_state_dict(learned.state_dict())
        check_sizes(wanted, patch, tile)


def test_a_tile_that_cannot_be_divided_is_refused():
    with pytest.raises(ParamsError, match=r"train\.tile_size: must be multiples of 16 for vnet"):
        check_sizes(spec("vnet"), (32, 48, 16), (32, 48, 24))


@pytest.mark.parametrize(
    ("name", "options", "multiples"),
    [
        ("dyntransnet_base", {}, (32, 32, 32)),
        ("dyntransnet_tiny", {"windows": [8, None, None, None]}, (16, 16, 16)),
        ("dyntransnet_global_p4", {}, (32, 32, 32)),
        ("lightm_unet", {"blocks_down": [1, 1]}, (2, 2, 2)),
        ("deeplabv3_plus", {}, (16, 16, 1)),
    ],
)
def test_options_decide_the_multiples(name, options, multiples):
    assert multiple_of(spec(name, **options)) == multiples


def test_options_replace_the_preset():
    network = build(spec("dyntransnet_tiny", windows=[8, None, None, None]), (16, 32, 48))
    assert network.stages[0].window == 8


def test_tiny_is_small_enough_for_a_cpu():
    network = build(spec("dyntransnet_tiny"), (64, 64, 64))
    assert 0.3e6 < sum(p.numel() for p in network.parameters()) < 1.0e6


@pytest.mark.parametrize("name", EVERY)
def test_every_network_gives_two_logits_a_voxel(name):
    image, _ = window_of(small(name), 2)
    with torch.no_grad():
        assert built(name).eval()(image).shape == (2, 2, *image.shape[2:])


@pytest.mark.parametrize("name", EVERY)
def test_a_small_step_down_the_gradient_of_every_parameter_lowers_the_loss(name):
    network, (image, targets) = built(name), window_of(small(name))
    before = loss_of(network, image, targets)
    before.backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert [name for name, g in gradients.items() if g is None or not g.any()] == []
    assert [name for name, g in gradients.items() if not g.isfinite().all()] == []
    torch.optim.SGD(network.parameters(), 1e-2).step()
    with torch.no_grad():
        assert loss_of(network, image, targets) < before


def loss_of(network, image, targets) -> torch.Tensor:
    torch.manual_seed(1)  # the same dropout
    return binary_cross_entropy_with_logits(network(image), targets)


@pytest.mark.parametrize("name", DEEP)
def test_deep_supervision_gives_a_list_in_training_and_one_tensor_after(name):
    network, (image, _) = built(name, deep_supervision=True), window_of(small(name))
    logits = network.train()(image)
    edges = torch.tensor([level.shape[2:] for level in logits])
    assert isinstance(logits, list)
    assert {tuple(level.shape[:2]) for level in logits} == {(1, 2)}
    assert tuple(edges[0]) == tuple(image.shape[2:])
    assert (edges.diff(dim=0) <= 0).all()
    assert network.eval()(image).shape == (1, 2, *image.shape[2:])


@pytest.mark.parametrize("name", DEEP)
def test_deep_supervision_reaches_every_parameter(name):
    network, (image, _) = built(name, deep_supervision=True), window_of(small(name))
    sum((level * torch.randn_like(level)).sum() for level in network.train()(image)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", EVERY)
def test_no_weight_is_saved_twice(name):
    weights = built(name).state_dict()
    assert len({tensor.data_ptr() for tensor in weights.values()}) == len(weights)


@pytest.mark.parametrize("name", ["dyntransnet_tiny", "unetr", "unet2d"])
def test_same_seed_builds_the_same_network(name):
    first, second = built(name).state_dict(), built(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_network_that_cannot_become_onnx_is_told_with_the_reason():
    with pytest.raises(ModelError, match="lightm_unet: must be exportable to ONNX, got a scan"):
        check_exportable(spec("lightm_unet"))


def test_network_that_can_become_onnx_passes():
    check_exportable(spec("dyntransnet_base"))


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_network_can_have_its_channels_last(name):
    network, (window, _) = built(name).eval(), window_of(small(name))
    with torch.no_grad():
        expected = network(window)
        put_channels_last(network)
        assert network(window).sub(expected).abs().max() < 1e-4 * expected.abs().max()
    for weight in network.parameters():
        if weight.ndim in CHANNELS_LAST:
            assert weight.is_contiguous(memory_format=CHANNELS_LAST[weight.ndim])


def test_tiny_learns_a_liver_and_its_lesion_among_decoys():
    torch.manual_seed(0)
    network = build(spec("dyntransnet_tiny"), (32, 32, 48))
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    images, truths = zip(*(phantom(center) for center in (12, 18)), strict=True)
    image, truth = torch.stack(images), torch.stack(truths)
    for _ in range(60):
        logits = network(image)
        loss = (
            binary_cross_entropy_with_logits(logits, truth) - dice(logits.sigmoid(), truth).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert dice((logits > 0).float(), truth).min() > 0.95


def phantom(center: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A liver with a dark lesion, and two bodies of the liver's intensity that are neither."""
    axes = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), torch.arange(48.0), indexing="ij")
    where = torch.stack(axes)

    def ball(middle: tuple[int, int, int], radius: float) -> torch.Tensor:
        return (where - torch.tensor(middle).view(3, 1, 1, 1)).norm(dim=0) < radius

    liver, lesion = ball((center, 16, 14), 10), ball((center, 14, 14), 4)
    decoys = ball((center, 8, 36), 5) | ball((26, 26, 40), 4)
    image = 0.25 * torch.randn(32, 32, 48) + (liver | decoys).float() - 0.6 * lesion.float()
    return image[None], torch.stack([liver, lesion]).float()


def dice(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    shared, total = (predicted * truth).sum((0, 2, 3, 4)), (predicted + truth).sum((0, 2, 3, 4))
    return 2 * shared / total
