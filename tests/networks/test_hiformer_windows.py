import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dyntransnet.networks.hiformer.swin import WindowAttention, from_windows, to_windows

pytestmark = pytest.mark.usefixtures("one_thread")


def randomized(layer: WindowAttention) -> WindowAttention:
    """Weights and biases far from their quiet start, in double precision."""
    generator = torch.Generator().manual_seed(2)
    for parameter in layer.double().parameters():
        parameter.data.normal_(0, 0.3, generator=generator)
    return layer


def intervals(edge: int, window: int, shift: int) -> list[range]:
    """Where the windows lie on an axis, from their definition: they start at the shift."""
    starts = sorted({0, *range(shift, edge, window)})
    return [range(a, b) for a, b in zip(starts, [*starts[1:], edge], strict=True)]


def naive_window_attention(layer: WindowAttention, grid: torch.Tensor) -> torch.Tensor:
    """Window by window, head by head, token by token, as the equation has it."""
    x, y, window = grid.shape[1], grid.shape[2], layer.window
    result = torch.empty_like(grid)
    shifts = [window // 2 if layer.shifted and edge > window else 0 for edge in (x, y)]
    for rows in intervals(x, window, shifts[0]):
        for columns in intervals(y, window, shifts[1]):
            places = [(row, column) for row in rows for column in columns]
            tokens = torch.stack([grid[0, row, column] for row, column in places])
            mixed = naive_attention(layer, tokens, places)
            for (row, column), token in zip(places, layer.out(mixed), strict=True):
                result[0, row, column] = token
    return result


def naive_attention(layer, tokens, places):
    query, key, value = layer.query_key_value(tokens).chunk(3, -1)
    table = layer.bias_table.view(2 * layer.window - 1, 2 * layer.window - 1, layer.heads)
    center, depth = layer.window - 1, tokens.shape[1] // layer.heads
    mixed = []
    for head in range(layer.heads):
        part = slice(head * depth, (head + 1) * depth)
        scores = query[:, part] @ key[:, part].T / math.sqrt(depth)
        bias = [[table[center + a - c, center + b - d, head] for c, d in places] for a, b in places]
        mixed.append((scores + torch.tensor(bias)).softmax(-1) @ value[:, part])
    return torch.cat(mixed, -1)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("edges", [(6, 9), (4, 7), (2, 8), (3, 3)])
def test_window_attention_is_attention_in_each_window(edges, shifted):
    layer = randomized(WindowAttention(8, 2, window=3, shifted=shifted))
    grid = torch.randn(1, *edges, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(grid), naive_window_attention(layer, grid))


@settings(deadline=None, max_examples=30)
@given(
    edges=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    window=st.integers(1, 4),
    shifted=st.booleans(),
    data=st.data(),
)
def test_only_tokens_of_one_window_mix(edges, window, shifted, data):
    layer = randomized(WindowAttention(4, 1, window=window, shifted=shifted))
    x, y = (data.draw(st.integers(0, edge - 1)) for edge in edges)
    grid = torch.randn(1, *edges, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(grid)[0, x, y].sum(), grid)
    shifts = [window // 2 if shifted and edge > window else 0 for edge in edges]
    rows, columns = (
        next(part for part in intervals(edge, window, shift) if place in part)
        for edge, shift, place in zip(edges, shifts, (x, y), strict=True)
    )
    expected = torch.zeros(edges, dtype=torch.bool)
    expected[rows.start : rows.stop, columns.start : columns.stop] = True
    assert torch.equal(gradient[0].abs().sum(-1) > 0, expected)


@given(counts=st.tuples(st.integers(1, 3), st.integers(1, 3)), window=st.integers(1, 3))
def test_windows_go_back_to_their_places(counts, window):
    grid = torch.randn(2, *(n * window for n in counts), 2)
    assert torch.equal(from_windows(to_windows(grid, window), grid.shape[1:3], window), grid)
