import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import ParamsError
from dyntransnet.networks.registry import NETWORKS, build


def spec(name: str, **options) -> NetworkSpec:
    return NetworkSpec(name=name, options=options)


def parameters(name: str, **options) -> int:
    return sum(p.numel() for p in build(spec(name, **options)).parameters())


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ParamsError, match=r"network.name must be one of dyntransnet_base, .* got 'u'"
    ):
        build(spec("u"))


@pytest.mark.parametrize("name", ["dyntransnet_tiny", "segresnet"])
def test_unknown_option_is_named(name):
    with pytest.raises(ParamsError, match=rf"network\.options\.depth must fit {name}: .*got 7"):
        build(spec(name, depth=7))


def test_option_out_of_range_is_named():
    with pytest.raises(ParamsError, match=r"options\.fusion must fit .*'fmm', 'concat'.*got 'sum'"):
        build(spec("dyntransnet_tiny", fusion="sum"))


def test_options_replace_the_preset():
    network = build(spec("dyntransnet_tiny", windows=[8, None, None, None]))
    assert network.multiple == 16
    assert network.stages[0].window == 8


def test_tiny_is_small_enough_for_a_cpu():
    assert 0.3e6 < parameters("dyntransnet_tiny") < 1.0e6


def test_tiny_takes_windows_of_64():
    assert 64 % build(spec("dyntransnet_tiny")).multiple == 0


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"dyntransnet_base"}))
def test_every_network_gives_two_logits_a_voxel(name):
    network = build(spec(name)).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 32, 32, 64)).shape == (1, 2, 32, 32, 64)


def test_same_seed_builds_the_same_network():
    torch.manual_seed(3)
    first = build(spec("dyntransnet_tiny")).state_dict()
    torch.manual_seed(3)
    second = build(spec("dyntransnet_tiny")).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_tiny_learns_a_liver_and_its_lesion_among_decoys():
    torch.manual_seed(0)
    network = build(spec("dyntransnet_tiny"))
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
