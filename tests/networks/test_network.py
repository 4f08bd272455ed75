import pytest
import torch
from pydantic import ValidationError

from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.networks.network import Architecture, DynTransNet

SMALL = Architecture(
    embed_dim=8, depths=(1, 1), heads=(1, 2), windows=(2, None), stem_dim=4
)  # multiple of 4: cheap, with a windowed and a global stage


def small(**options) -> DynTransNet:
    torch.manual_seed(0)
    return DynTransNet(Architecture.model_validate(SMALL.model_dump() | options))


def image(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 1, 8, 16, 24, generator=torch.Generator().manual_seed(1))


VARIANTS = [
    {},
    {"bias": "none"},
    {"bias": "pair"},
    {"fusion": "concat"},
    {"fusion": "weighted_sum"},
    {"refine": "plain"},
    {"raw_skip": False},
    {"patch": 4, "windows": (None, None)},
    {"patch": 4, "windows": (None, None), "raw_skip": False},
    {"classes": 3, "windows": [None, 1]},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_logits_lie_on_the_grid_of_the_image(options):
    network = small(**options)
    with torch.no_grad():
        assert network(image()).shape == (2, options.get("classes", 2), 8, 16, 24)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_gradient_reaches_every_parameter(options):
    network = small(**options)
    (network(image()) * torch.randn(2, 1, 8, 16, 24)).sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_base_has_the_parameters_of_variant_a8():
    network = DynTransNet(Architecture())
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(9.1e6, rel=0.05)


def test_base_takes_multiples_of_32():
    assert Architecture().multiple == 32


@pytest.mark.parametrize(
    ("options", "multiple"),
    [({}, 4), ({"windows": (3, None)}, 12), ({"patch": 4, "windows": (None, 3)}, 24)],
)
def test_windows_and_strides_decide_the_edges(options, multiple):
    assert small(**options).multiple == multiple


def test_edge_that_is_no_multiple_is_rejected():
    with pytest.raises(ModelError, match=r"must be multiples of 4, got \(8, 10, 16\)"):
        small()(torch.zeros(1, 1, 8, 10, 16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": "pair", "windows": (None, None)}, "must have a stage with windows"),
        ({"heads": (1, 3)}, "must divide a stage's 16 channels, got 3"),
        ({"depths": (1, 1, 1)}, "must be equally many"),
    ],
)
def test_options_that_do_not_fit_together_are_rejected(options, message):
    with pytest.raises(ParamsError, match=message):
        small(**options)


def test_unknown_option_is_rejected():
    with pytest.raises(ValidationError, match="fusion"):
        small(fusion="sum")


def test_a_sample_does_not_depend_on_the_others():
    network, batch = small(), image(3)
    with torch.no_grad():
        torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]))


def test_training_and_evaluation_give_the_same_logits():
    network = small()
    with torch.no_grad():
        torch.testing.assert_close(network.train()(image()), network.eval()(image()))


def test_channels_last_gives_the_same_logits():
    network = small()
    with torch.no_grad():
        logits = network(image())
        network.to(memory_format=torch.channels_last_3d)
        last = network(image().to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(last, logits, rtol=1e-4, atol=1e-5)


def test_bfloat16_stays_close_to_float32():
    network = small()
    with torch.no_grad():
        logits = network(image())
        with torch.autocast("cpu", torch.bfloat16):
            half = network(image())
    assert (half.float() - logits).abs().mean() < 0.02 * logits.std()


def test_a_training_step_lowers_the_loss():
    network = small()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    truth = (image() > 0).float().expand(-1, 2, -1, -1, -1)
    losses = []
    for _ in range(3):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(image()), truth)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]
