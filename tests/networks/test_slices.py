import pytest
import torch
from small import small, window_of
from torch import nn

from dyntransnet.networks.registry import build
from dyntransnet.networks.slices import SliceWise

pytestmark = pytest.mark.usefixtures("one_thread")


def volumes() -> torch.Tensor:
    """Two volumes of five slices; each voxel tells its volume and slice as 10 * volume + z."""
    slices = torch.arange(5.0) + 10 * torch.arange(2.0).view(2, 1, 1, 1, 1)
    return slices.expand(2, 1, 3, 4, 5)


def channels_seen(context: int) -> list[list[float]]:
    return SliceWise(nn.Identity(), context=context).slices(volumes())[:, :, 0, 0].tolist()


def test_a_slice_comes_with_its_neighbors_in_order():
    seen = channels_seen(1)
    assert seen[1:4] == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert seen[6:9] == [[10, 11, 12], [11, 12, 13], [12, 13, 14]]


def test_the_last_slice_stands_in_at_both_ends():
    seen = channels_seen(2)
    assert [seen[0], seen[4]] == [[0, 0, 0, 1, 2], [2, 3, 4, 4, 4]]
    assert [seen[5], seen[9]] == [[10, 10, 10, 11, 12], [12, 13, 14, 14, 14]]


def test_without_context_a_slice_comes_alone():
    assert channels_seen(0) == [[z] for z in (0, 1, 2, 3, 4, 10, 11, 12, 13, 14)]


def test_logits_go_back_to_their_volume_and_slice():
    class Middle(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.stack([image[:, 1], -image[:, 2]], 1)

    logits = SliceWise(Middle())(volumes())
    above = volumes()[..., [1, 2, 3, 4, 4]]
    assert torch.equal(logits, torch.cat([volumes(), -above], 1))


def test_axes_within_a_slice_stay():
    image = torch.randn(2, 1, 3, 4, 5)
    assert torch.equal(SliceWise(nn.Identity(), context=0)(image), image)


@pytest.mark.parametrize("name", ["deeplabv3_plus", "unet2d"])
def test_context_decides_how_far_a_slice_is_seen(name):
    network = build(small(name, context=2), (64, 32, 7)).eval()
    image = torch.randn(1, 1, 64, 32, 7, requires_grad=True)
    network(image)[..., 3].sum().backward()
    assert image.grad.abs().sum((0, 1, 2, 3)).gt(0).tolist() == [False, *[True] * 5, False]


@pytest.mark.parametrize("z", [1, 2, 9])
def test_any_number_of_slices_fits(z):
    network = build(small("unet2d"), (64, 32, z)).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 64, 32, z)).shape == (1, 2, 64, 32, z)


def test_encoders_differ():
    sizes = [
        sum(p.numel() for p in build(small("unet2d", encoder=encoder), (32, 32, 1)).parameters())
        for encoder in ("mobilenet_v2", "resnet18", "resnet34")
    ]
    assert sizes == sorted(set(sizes))


def test_weights_are_fresh():
    image, _ = window_of(small("unet2d"))
    first, second = (build(small("unet2d"), image.shape[2:]).eval() for _ in range(2))
    with torch.no_grad():
        assert not torch.allclose(first(image), second(image))
