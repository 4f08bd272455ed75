import pytest
import torch
from torch import nn

from dyntransnet.networks.hiformer.fusion import DoubleLevelFusion, LevelTokens, Swap
from dyntransnet.networks.hiformer.transformer import ClassAttention, DropPath, SelfAttention

pytestmark = pytest.mark.usefixtures("one_thread")


def randomized(module: nn.Module) -> nn.Module:
    """Weights and biases far from their quiet start, in double precision."""
    generator = torch.Generator().manual_seed(2)
    for parameter in module.double().parameters():
        parameter.data.normal_(0, 0.3, generator=generator)
    return module


def influence(result: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Which tokens of (batch, tokens, channels) the result depends on."""
    return torch.autograd.grad(result.square().sum(), source)[0].abs().sum((0, 2)) > 0


def test_self_attention_is_that_of_torch():
    layer, tokens = SelfAttention(12, 3).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    reference = nn.MultiheadAttention(12, 3, batch_first=True).double()
    reference.in_proj_weight, reference.in_proj_bias = layer.query_key_value.parameters()
    reference.out_proj = layer.out
    torch.testing.assert_close(layer(tokens), reference(tokens, tokens, tokens)[0])


def test_class_attention_is_that_of_torch():
    layer, tokens = ClassAttention(12, 3).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    reference = nn.MultiheadAttention(12, 3, batch_first=True).double()
    for name, ours in [("weight", "weight"), ("bias", "bias")]:
        joined = torch.cat([getattr(layer.query, ours), getattr(layer.key_value, ours)])
        setattr(reference, f"in_proj_{name}", nn.Parameter(joined.detach()))
    reference.out_proj = layer.out
    torch.testing.assert_close(layer(tokens), reference(tokens[:, :1], tokens, tokens)[0])


@pytest.fixture
def swapped():
    """Tokens of both levels (fine 4, coarse 6 channels), and the fine ones after the swap."""
    own = torch.randn(2, 7, 4, dtype=torch.float64, requires_grad=True)
    other = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    return own, other, randomized(Swap(4, 6, heads=2))(own, other)


def test_swap_takes_of_its_own_level_the_class_token_alone(swapped):
    own, _, result = swapped
    assert influence(result[:, :1], own).tolist() == [True, *[False] * 6]


def test_swap_takes_of_the_other_level_all_but_the_class_token(swapped):
    _, other, result = swapped
    assert influence(result[:, :1], other).tolist() == [False, *[True] * 4]


def test_swap_leaves_a_levels_own_patches_alone(swapped):
    own, _, result = swapped
    assert torch.equal(result[:, 1:], own[:, 1:])


def test_swap_does_not_depend_on_the_order_of_the_patches():
    layer = randomized(Swap(4, 6, heads=2))
    own, other = (torch.randn(1, 5, width, dtype=torch.float64) for width in (4, 6))
    shuffled = other[:, [0, 3, 1, 4, 2]]
    torch.testing.assert_close(layer(own, shuffled), layer(own, other))


def fusion(order: str) -> DoubleLevelFusion:
    return randomized(
        DoubleLevelFusion(
            (4, 6),
            edges=[(8, 4), (2, 1)],
            depths=(1, 1),
            heads=(1, 2),
            mlp_ratio=1,
            order=order,
        )
    )


@pytest.mark.parametrize(("order", "hears"), [("swap_first", True), ("swap_last", False)])
def test_levels_hear_of_each_other_where_the_swap_comes_first(order, hears):
    fine = torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    coarse = torch.randn(1, 2, 1, 6, dtype=torch.float64, requires_grad=True)
    network = fusion(order)
    for result, source in [(0, coarse), (1, fine)]:
        fused = network(fine, coarse)[result].square().sum()
        (gradient,) = torch.autograd.grad(fused, source, allow_unused=True)
        assert (gradient is not None and bool(gradient.any())) == hears


def test_class_token_is_the_mean_of_its_normed_level():
    layer, grid = LevelTokens(4, (3, 5)), 2 * torch.randn(2, 3, 5, 4) + 1
    expected = nn.functional.layer_norm(grid, (4,)).mean((1, 2)) + layer.class_position[0]
    torch.testing.assert_close(layer(grid)[:, 0], expected)


def test_tokens_follow_their_grid():
    layer, grid = LevelTokens(4, (3, 5)), torch.randn(2, 3, 5, 4)
    expected = grid[:, 1, 2] + layer.positions[0, :, 1, 2]
    torch.testing.assert_close(layer(grid)[:, 1 + 5 + 2], expected)


def test_positions_of_another_grid_keep_a_gradient_across_it():
    layer = LevelTokens(1, (2, 4))
    layer.positions.data[:] = torch.arange(4.0)
    wider = layer.positions_on((4, 8))[0, 0]
    torch.testing.assert_close(wider[2, 1:-1], torch.linspace(0.25, 2.75, 6))


def test_dropped_branches_keep_their_mean():
    torch.manual_seed(0)
    branch = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert branch.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(branch.amin((1, 2)), branch.amax((1, 2)))
    assert branch.mean().item() == pytest.approx(1, abs=0.03)


def test_nothing_is_dropped_in_evaluation():
    branch = torch.randn(8, 2, 3)
    assert torch.equal(DropPath(0.9).eval()(branch), branch)
