import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from caches import SMALL, train_params
from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import ParamsError, TrainingError
from dyntransnet.learning import memory
from dyntransnet.learning.cost import cost_of
from dyntransnet.learning.memory import check_fits, recompute_activations, told_when_full
from dyntransnet.learning.processes import Team
from dyntransnet.networks.registry import build

SPEC = NetworkSpec(name="dyntransnet_tiny", options=SMALL)
PATCH = (12, 20, 16)
ALONE = Team(torch.device("cpu"))


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build(SPEC, PATCH).double()


def image() -> torch.Tensor:
    return torch.randn(2, 1, *PATCH, generator=torch.Generator().manual_seed(1)).double()


def learned(network: torch.nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """Logits, gradients, and the bytes kept between the two passes."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = network(image())
    logits.pow(2).mean().backward()
    return logits, {name: p.grad for name, p in network.named_parameters()}, sum(kept.values())


def test_recomputed_activations_give_the_same_gradients_from_less_memory():
    plain, thrifty = network(), network()
    recompute_activations(thrifty)
    logits, gradients, kept = learned(plain)
    same, equal, less = learned(thrifty)
    torch.testing.assert_close(same, logits, rtol=0, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(equal[name], gradient, rtol=1e-12, atol=1e-12)
    assert less < kept / 2


def test_recomputing_leaves_the_names_of_the_weights_and_copies_alone():
    thrifty = network()
    apart = copy.deepcopy(thrifty)
    recompute_activations(thrifty)
    assert thrifty.state_dict().keys() == apart.state_dict().keys()
    with torch.no_grad():
        next(thrifty.parameters()).add_(1)
    assert not torch.equal(thrifty(image()), apart(image()))


def needed(**changes) -> int:
    params = train_params(patch_size=PATCH, **changes)
    cost = cost_of(SPEC, PATCH, batch=params.batch_size, precision=params.precision)
    return memory.BYTES_PER_PARAMETER * cost.parameters + cost.activation_bytes


@pytest.mark.parametrize("changes", [{}, {"batch_size": 6}, {"precision": "bf16"}])
def test_a_batch_is_refused_where_a_byte_is_missing(monkeypatch, changes):
    params = train_params(patch_size=PATCH, **changes)
    monkeypatch.setattr(memory, "free_on", lambda device: needed(**changes))
    check_fits(SPEC, params, ALONE)
    monkeypatch.setattr(memory, "free_on", lambda device: needed(**changes) - 1)
    rule = (
        rf"^train\.batch_size: {params.batch_size} windows of \(12, 20, 16\) of dyntransnet_tiny "
        r"must fit in the [\d.]+ GiB that are free, got at least [\d.]+ GiB; lower "
    )
    with pytest.raises(ParamsError, match=rule):
        check_fits(SPEC, params, ALONE)


def test_a_wide_batch_must_fit_too(monkeypatch):
    params = train_params(patch_size=PATCH, tile_size=(48, 60, 64), wide_share=0.5)
    monkeypatch.setattr(memory, "free_on", lambda device: needed())
    with pytest.raises(ParamsError, match=r"1 windows of \(48, 60, 64\)"):
        check_fits(SPEC, params, ALONE)
    check_fits(SPEC, params.model_copy(update={"wide_share": 0.0}), ALONE)


def test_each_process_needs_memory_for_its_own_windows(monkeypatch):
    monkeypatch.setattr(memory, "free_on", lambda device: needed(batch_size=2))
    params = train_params(patch_size=PATCH, batch_size=4)
    check_fits(SPEC, params, Team(torch.device("cpu"), rank=1, size=2))
    with pytest.raises(ParamsError, match="4 windows"):
        check_fits(SPEC, params, ALONE)


def test_a_batch_that_no_machine_holds_is_refused_before_it_is_made():
    huge = train_params(patch_size=(320, 320, 320), batch_size=4096)
    with pytest.raises(ParamsError, match="must fit in the"):
        check_fits(NetworkSpec(name="dyntransnet_base", options={}), huge, ALONE)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_exhausted_memory_gives_advice(error):
    rule = r"a batch of 2 windows of \(12, 20, 16\) must fit in memory, got none left; lower "
    with pytest.raises(TrainingError, match=rule), told_when_full(train_params()):
        raise error


def test_memory_that_cannot_be_had_is_exhausted_memory():
    with pytest.raises(TrainingError, match="must fit in memory"), told_when_full(train_params()):
        torch.empty(2**60)


def test_other_failures_pass_unchanged():
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), told_when_full(train_params()):
        raise RuntimeError("shapes differ")


def test_peak_memory_grows_with_what_is_taken():
    device = torch.device("cpu")
    before = memory.peak_bytes(device)
    block = torch.ones(2 * before // 4)
    assert memory.peak_bytes(device) > before + block.nbytes / 3
