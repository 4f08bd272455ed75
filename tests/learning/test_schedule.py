import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from caches import SMALL, train_params
from dyntransnet.contract import NetworkSpec
from dyntransnet.learning.schedule import average_into, learning_rate, parameter_groups
from dyntransnet.networks.registry import build

PEAK = 0.02


def rates(steps: int, warmup_share: float) -> list[float]:
    params = train_params(steps=steps, warmup_share=warmup_share, learning_rate=PEAK)
    return [learning_rate(step, steps, params) for step in range(steps)]


def averaged(average: nn.Module, network: nn.Module, steps: int, *, decay: float) -> nn.Module:
    for step in range(steps):
        average_into(average, network, step, decay)
    return average


def constant(value: float) -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for tensor in network.state_dict().values():
        tensor.fill_(value)
    return network


def test_the_rate_at_its_landmarks():
    found = rates(100, 0.1)
    assert found[0] == pytest.approx(PEAK / 10)
    assert found[9:11] == pytest.approx([PEAK, PEAK])
    assert found[55] == pytest.approx(PEAK / 2)
    assert found[99] == pytest.approx(PEAK * 0.5 * (1 - math.cos(math.pi / 90)))


@given(steps=st.integers(2, 200), share=st.floats(0, 0.99))
def test_the_rate_climbs_evenly_then_falls(steps, share):
    found, warmup = rates(steps, share), max(1, round(share * steps))
    climb, fall = found[:warmup], found[warmup:]
    assert climb == pytest.approx([PEAK * (step + 1) / warmup for step in range(warmup)])
    assert fall == sorted(fall, reverse=True)
    assert all(0 < rate < PEAK * (1 + 1e-9) for rate in found)


def test_without_warm_up_the_first_step_has_the_peak_rate():
    assert rates(50, 0.0)[0] == PEAK


def test_a_run_of_one_step_has_a_rate():
    assert rates(1, 0.5) == [PEAK]


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_early_averages_forget_the_initial_weights(steps):
    """The shares kept are 1/10, 2/11, ...: their product is n! 9! / (n + 9)!."""
    average = averaged(constant(5), constant(1), steps, decay=0.999)
    kept = math.factorial(steps) * math.factorial(9) / math.factorial(steps + 9)
    expected = torch.full((2, 3), 1 + 4 * kept)
    torch.testing.assert_close(average[0].weight.data, expected, rtol=1e-6, atol=0)


def test_later_averages_decay_at_the_rate_asked_for():
    average, network = constant(3), constant(1)
    average_into(average, network, 10_000, 0.9)
    torch.testing.assert_close(average[0].bias.data, torch.full((2,), 1 + 2 * 0.9))


@given(steps=st.integers(1, 30), decay=st.floats(0, 0.999))
def test_the_average_of_constant_weights_is_those_weights(steps, decay):
    average = averaged(constant(2), constant(2), steps, decay=decay)
    assert torch.equal(average[0].weight, constant(2)[0].weight)


def test_without_decay_the_average_is_the_network():
    average = averaged(constant(3), constant(1), 1, decay=0.0)
    assert torch.equal(average[0].weight, constant(1)[0].weight)


def test_counters_are_copied_and_statistics_averaged():
    average, network = constant(2), constant(4)
    average_into(average, network, 10_000, 0.5)
    assert average[1].num_batches_tracked == 4
    assert average[1].running_var.tolist() == [3, 3]


def test_averaging_leaves_the_network_alone():
    network = constant(1)
    before = copy.deepcopy(network.state_dict())
    average_into(constant(3), network, 0, 0.9)
    assert all(torch.equal(before[name], new) for name, new in network.state_dict().items())


def test_groups_hold_every_parameter_once_and_no_vector_decays():
    network = build(NetworkSpec(name="dyntransnet_tiny", options=SMALL), (16, 16, 16))
    network.scale = nn.Parameter(torch.tensor(1.0))
    groups = parameter_groups(network, 0.03)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        assert decay[id(parameter)] == (0.03 if parameter.ndim > 1 else 0), name


def test_the_rates_of_a_state_space_do_not_decay():
    spec = NetworkSpec(name="lightm_unet", options={"init_filters": 8, "states": 4})
    spared = parameter_groups(build(spec, (16, 16, 16)), 0.03)[1]["params"]
    rates = [p for name, p in build(spec, (16, 16, 16)).named_parameters() if "A_log" in name]
    assert rates
    assert sum(p.ndim > 1 for p in spared) == len(rates)
