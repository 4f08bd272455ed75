import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dyntransnet.errors import ParamsError
from dyntransnet.networks.attention import (
    DynamicAttention,
    TransformerStage,
    from_windows,
    fused_attention,
    naive_attention,
    swiftly,
    to_windows,
)

WINDOWS, HEADS, TOKENS, DEPTH = 3, 2, 27, 16
SHAPE = (WINDOWS, HEADS, TOKENS, DEPTH)


def double(*shape: int, seed: int = 0) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.requires_grad_()


def bias_of(rows: int) -> torch.Tensor:
    return double(WINDOWS, HEADS, rows, TOKENS, seed=9).detach().relu().requires_grad_()


@pytest.mark.parametrize("rows", [1, TOKENS])
def test_fused_attention_is_the_equation(rows):
    inputs = [*(double(*SHAPE, seed=i) for i in range(3)), bias_of(rows)]
    torch.testing.assert_close(
        fused_attention(*inputs), naive_attention(*inputs), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("rows", [1, TOKENS])
def test_fused_attention_has_the_gradients_of_the_equation(rows):
    inputs = [*(double(*SHAPE, seed=i) for i in range(3)), bias_of(rows)]
    upstream = double(*SHAPE, seed=5).detach()
    fused = torch.autograd.grad(fused_attention(*inputs), inputs, upstream)
    naive = torch.autograd.grad(naive_attention(*inputs), inputs, upstream)
    torch.testing.assert_close(fused, naive, rtol=0, atol=1e-12)


@pytest.mark.parametrize("attend", [fused_attention, naive_attention])
def test_bias_that_is_constant_along_the_keys_does_nothing(attend):
    inputs = [double(*SHAPE, seed=i) for i in range(3)]
    constant = double(WINDOWS, HEADS, TOKENS, 1, seed=4).expand(-1, -1, -1, TOKENS)
    torch.testing.assert_close(attend(*inputs, constant), attend(*inputs, None), rtol=0, atol=1e-12)


def test_key_bias_draws_attention_to_its_key():
    query, key, value = (double(*SHAPE, seed=i) for i in range(3))
    bias = torch.zeros(WINDOWS, HEADS, 1, TOKENS, dtype=torch.float64)
    bias[..., 7] = 1e3
    mixed = fused_attention(query, key, value, bias)
    torch.testing.assert_close(mixed, value[:, :, 7:8].expand(SHAPE))


@pytest.mark.parametrize("bias", ["none", "key"])
def test_attention_does_not_depend_on_the_order_of_tokens(bias):
    attention = DynamicAttention(32, 2, bias=bias).double()
    tokens, order = double(2, TOKENS, 32), torch.randperm(TOKENS)
    torch.testing.assert_close(attention(tokens)[:, order], attention(tokens[:, order]))


@pytest.mark.parametrize("bias", ["key", "pair"])
def test_dynamic_bias_changes_the_result(bias):
    attention = DynamicAttention(32, 2, bias=bias, tokens=TOKENS).double()
    tokens = double(2, TOKENS, 32)
    biased = attention(tokens)
    attention.region = None
    assert not torch.allclose(attention(tokens), biased)


def test_pair_bias_needs_a_fixed_number_of_tokens():
    with pytest.raises(ParamsError, match="must have a fixed number of tokens, got global"):
        DynamicAttention(32, 2, bias="pair")


def test_a_stage_swaps_its_attention_for_the_reference_without_effect():
    stage = TransformerStage(32, 2, depth=2, window=2, bias="key").double()
    grid = double(1, 4, 2, 6, 32)
    fused = stage(grid)
    for block in stage.blocks:
        block.attention.attend = naive_attention
    torch.testing.assert_close(stage(grid), fused, rtol=0, atol=1e-12)


def test_a_window_sees_nothing_of_its_neighbor():
    stage = TransformerStage(32, 2, depth=1, window=4, bias="key")
    grid = torch.randn(1, 8, 4, 4, 32)
    changed = grid.clone()
    changed[:, 6:] += 1  # the position signal reaches one token further, to 5
    torch.testing.assert_close(stage(grid)[:, :4], stage(changed)[:, :4])


def test_global_stage_sees_everything():
    stage = TransformerStage(32, 2, depth=1, window=None, bias="key")
    grid = torch.randn(1, 8, 3, 5, 32)
    changed = grid.clone()
    changed[:, 7] += 1
    assert not torch.allclose(stage(grid)[:, 0], stage(changed)[:, 0])


sizes = st.tuples(*[st.integers(1, 3)] * 3)


@settings(deadline=None)
@given(windows=sizes, window=st.integers(1, 3), batch=st.integers(1, 2))
def test_windows_go_back_to_their_places(windows, window, batch):
    grid = torch.randn(batch, *(n * window for n in windows), 2)
    assert torch.equal(from_windows(to_windows(grid, window), grid.shape, window), grid)


def test_a_window_is_a_cube_of_neighbors():
    grid = torch.arange(4 * 2 * 6.0).view(1, 4, 2, 6, 1)
    second = to_windows(grid, 2)[1].view(2, 2, 2)
    assert torch.equal(second, grid[0, :2, :2, 2:4, 0])


def test_a_cpu_computes_in_fp32_what_it_is_slow_at_in_bf16():
    seen = []

    def double(tensor, nothing):
        seen.append((tensor.dtype, torch.is_autocast_enabled("cpu"), nothing))
        return 2 * tensor

    tokens = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = swiftly(double, tokens, None)
    plain = swiftly(double, tokens, None)
    found.sum().backward()
    assert seen == [(torch.float32, False, None), (torch.bfloat16, False, None)]
    assert found.dtype == plain.dtype == torch.bfloat16
    assert (tokens.grad == 2).all()


def test_under_autocast_attention_is_as_exact_as_its_inputs():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 64, 16).bfloat16().unbind()
    exact = fused_attention(query.float(), key.float(), value.float(), None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = swiftly(fused_attention, query, key, value, None)
        rough = fused_attention(query, key, value, None)
    torch.testing.assert_close(found, exact.bfloat16(), rtol=0, atol=0)
    assert not torch.equal(rough, found)
