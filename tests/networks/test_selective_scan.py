import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dyntransnet.errors import ParamsError
from dyntransnet.networks.selective_scan import (
    MAX_CHUNK,
    find_kernel,
    linear_recurrence,
    selective_scan,
)

KERNEL = "mamba_ssm.ops.selective_scan_interface"


def inputs(length: int = 37, *, states: int = 3, dtype=torch.float64) -> tuple[Tensor, ...]:
    """x, delta, A, B, C, D for two samples and five inner channels."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    return (
        normal(2, 5, length),
        F.softplus(normal(2, 5, length)),
        -normal(5, states).exp(),
        normal(2, states, length),
        normal(2, states, length),
        normal(5),
    )


def token_by_token(u, delta, A, B, C, D=None):  # noqa: N803
    """The recurrence as the paper writes it, under the names of Mamba's own kernel."""
    state, outputs = torch.zeros(u.shape[0], *A.shape, dtype=u.dtype), []
    for t in range(u.shape[-1]):
        step, enter = delta[:, :, t, None], B[:, None, :, t]
        state = (step * A).exp() * state + step * enter * u[:, :, t, None]
        outputs.append((state * C[:, None, :, t]).sum(-1) + D * u[:, :, t])
    return torch.stack(outputs, -1)


def gradients(scan: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in arguments]
    y = scan(*leaves)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(9), dtype=y.dtype)
    return list(torch.autograd.grad((weights * y).sum(), leaves))


@pytest.mark.parametrize(("length", "chunk"), [(1, 1), (7, 3), (37, 8), (64, 32), (130, 4096)])
def test_scan_equals_the_loop(length, chunk):
    y = selective_scan(*inputs(length), chunk=chunk)
    torch.testing.assert_close(y, token_by_token(*inputs(length)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("length", "chunk"), [(1, 1), (7, 3), (37, 8), (64, 32), (67, 4096)])
def test_gradients_equal_the_loops(length, chunk):
    found = gradients(lambda *t: selective_scan(*t, chunk=chunk), inputs(length))
    expected = gradients(token_by_token, inputs(length))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("chunk", [1, 2, 13, 99, 100])
def test_chunk_length_changes_nothing(chunk):
    whole = selective_scan(*inputs(100), chunk=MAX_CHUNK)
    torch.testing.assert_close(
        selective_scan(*inputs(100), chunk=chunk), whole, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("chunk", [0, MAX_CHUNK + 1])
def test_chunk_out_of_range_is_rejected(chunk):
    with pytest.raises(ParamsError, match=rf"chunk must lie in 1 \.\. 4096, got {chunk}"):
        selective_scan(*inputs(), chunk=chunk)


def test_constant_parameters_give_a_geometric_series():
    rate, step, enter, show, by, x = -0.7, 0.2, 1.5, -2.0, 0.3, 4.0
    length = 50
    constant = torch.ones(1, 1, length, dtype=torch.float64)
    matrix = torch.ones(1, 1, dtype=torch.float64)
    y = selective_scan(
        x * constant,
        step * constant,
        rate * matrix,
        enter * constant,
        show * constant,
        by * matrix[0],
        chunk=16,
    )
    ratio = torch.tensor(rate * step, dtype=torch.float64).exp()
    terms = torch.arange(1, length + 1)
    expected = show * step * enter * x * (1 - ratio**terms) / (1 - ratio) + by * x
    torch.testing.assert_close(y[0, 0], expected, rtol=1e-12, atol=0)


def test_states_that_die_at_once_leave_no_trace():
    x, delta, A, B, C, D = inputs(40, dtype=torch.float32)  # noqa: N806
    found = gradients(lambda *t: selective_scan(*t, chunk=16), (x, delta, 1e6 * A, B, C, D))
    assert all(t.isfinite().all() for t in found)
    y = selective_scan(x, delta, 1e6 * A, B, C, D, chunk=16)
    memoryless = delta * x * (B * C).sum(1, keepdim=True) + D[:, None] * x
    torch.testing.assert_close(y, memoryless)


@pytest.mark.parametrize("changed", [0, 15, 16, 30])
def test_an_earlier_output_never_sees_a_later_token(changed):
    arguments = inputs(31)
    before = selective_scan(*arguments, chunk=8)
    for argument in (arguments[index] for index in (0, 1, 3, 4)):
        argument[..., changed] += 1
    after = selective_scan(*arguments, chunk=8)
    assert torch.equal(before[..., :changed], after[..., :changed])
    assert not torch.isclose(before[..., changed:], after[..., changed:]).any(-1).all()


def test_autocast_leaves_the_scan_in_float32():
    arguments = inputs(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(lambda *t: selective_scan(*t, chunk=8), arguments)
        y = selective_scan(*arguments, chunk=8)
    assert torch.equal(y, selective_scan(*arguments, chunk=8))
    assert all(
        map(torch.equal, found, gradients(lambda *t: selective_scan(*t, chunk=8), arguments))
    )


def test_bfloat16_tokens_are_scanned_in_float32():
    x, delta, A, B, C, D = inputs(dtype=torch.float32)  # noqa: N806
    half = [t.bfloat16() for t in (x, B, C)]
    y = selective_scan(half[0], delta, A, half[1], half[2], D, chunk=8)
    x, B, C = (t.float() for t in half)  # noqa: N806
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, selective_scan(x, delta, A, B, C, D, chunk=8).bfloat16())


def kept_for_backward(run: Callable[[], Tensor]) -> int:
    """Bytes of all storages that autograd keeps."""
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize(("length", "states"), [(512, 4), (512, 32), (2048, 4), (2048, 32)])
def test_only_inputs_and_carried_states_are_kept_for_backward(length, states):
    leaves = [t.requires_grad_() for t in inputs(length, states=states, dtype=torch.float32)]
    given = sum(t.nbytes for t in leaves)
    carried = length // 64 * 2 * 5 * states * 4
    assert given <= kept_for_backward(lambda: selective_scan(*leaves, chunk=64)) <= given + carried


def test_a_scan_in_one_piece_would_keep_every_state():
    decay = torch.rand(2, 512, 5, 32).requires_grad_()
    drive, state = torch.randn(2, 512, 5, 32), torch.zeros(2, 5, 32)
    kept = kept_for_backward(lambda: linear_recurrence(decay, drive, state))
    assert kept > 3 * decay.nbytes


@pytest.fixture
def kernel_calls(monkeypatch):
    """A stand-in for mamba_ssm, and tensors that say they are on CUDA."""
    calls = []

    def selective_scan_fn(u, delta, A, B, C, D=None):  # noqa: N803
        calls.append({t.dtype for t in (u, delta, A, B, C, D)})
        return token_by_token(u, delta, A, B, C, D)

    module = ModuleType(KERNEL)
    module.selective_scan_fn = selective_scan_fn
    monkeypatch.setitem(sys.modules, KERNEL, module)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    find_kernel.cache_clear()
    yield calls
    find_kernel.cache_clear()


def test_on_cuda_mambas_own_kernel_runs_with_the_same_result(kernel_calls, monkeypatch):
    arguments = inputs(dtype=torch.float32)
    y = selective_scan(*arguments, chunk=8)
    assert kernel_calls == [{torch.float32}]
    monkeypatch.undo()
    torch.testing.assert_close(y, selective_scan(*arguments, chunk=8))


def test_the_kernel_gets_float32_and_the_caller_its_own_type(kernel_calls):
    x, *others = inputs(dtype=torch.float32)
    assert selective_scan(x.bfloat16(), *others, chunk=8).dtype == torch.bfloat16
    assert kernel_calls == [{torch.float32}]


def test_float64_stays_with_torch_for_the_kernel_has_none(kernel_calls):
    selective_scan(*inputs(), chunk=8)
    assert kernel_calls == []


def test_on_cpu_the_kernel_is_not_used(kernel_calls, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: False))
    selective_scan(*inputs(dtype=torch.float32), chunk=8)
    assert kernel_calls == []


def test_without_the_kernel_cuda_is_scanned_by_torch(kernel_calls, monkeypatch):
    monkeypatch.setitem(sys.modules, KERNEL, None)
    arguments = inputs(dtype=torch.float32)
    torch.testing.assert_close(selective_scan(*arguments, chunk=8), token_by_token(*arguments))
    assert kernel_calls == []
