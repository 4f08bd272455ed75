import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dyntransnet.networks.mamba import Mamba


def mamba() -> Mamba:
    torch.manual_seed(0)
    return Mamba(40, states=6, kernel=3).double()


def tokens(length: int = 21) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, length, 40, generator=generator, dtype=torch.float64)


def token_by_token(block: Mamba, given: Tensor) -> Tensor:
    """Section 3.4 for one token after the other, from the block's weights alone."""
    w = block.state_dict()
    state, seen, outputs = torch.zeros(2, 80, 6, dtype=given.dtype), [torch.zeros(2, 80)] * 2, []
    for token in given.unbind(1):
        x, gate = (token @ w["in_proj.weight"].T).chunk(2, -1)
        seen = [*seen[-2:], x]
        taps = zip(seen, w["conv1d.weight"].unbind(-1), strict=True)
        x = F.silu(sum(past * tap[:, 0] for past, tap in taps) + w["conv1d.bias"])
        step, enter, show = (x @ w["x_proj.weight"].T).split((3, 6, 6), -1)
        delta = F.softplus(step @ w["dt_proj.weight"].T + w["dt_proj.bias"])[..., None]
        state = (-delta * w["A_log"].exp()).exp() * state
        state = state + delta * enter[:, None] * x[..., None]
        y = (state @ show[..., None])[..., 0] + w["D"] * x
        outputs.append((y * F.silu(gate)) @ w["out_proj.weight"].T)
    return torch.stack(outputs, 1)


def test_block_equals_the_paper_token_by_token():
    block = mamba()
    with torch.no_grad():
        found, expected = block(tokens()), token_by_token(block, tokens())
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_block_has_the_parameters_of_mamba_ssm():
    shapes = {name: tuple(p.shape) for name, p in Mamba(32).named_parameters()}
    assert shapes == {
        "A_log": (64, 16),
        "D": (64,),
        "in_proj.weight": (128, 32),
        "conv1d.weight": (64, 1, 4),
        "conv1d.bias": (64,),
        "x_proj.weight": (34, 64),
        "dt_proj.weight": (64, 2),
        "dt_proj.bias": (64,),
        "out_proj.weight": (32, 64),
    }


def test_block_starts_with_the_rates_and_steps_of_the_paper():
    block = Mamba(512)
    steps = F.softplus(block.dt_proj.bias.detach())
    assert torch.allclose(block.A_log.exp(), torch.arange(1.0, 17.0))
    assert (block.D == 1).all()
    # Log-uniform in 0.001 .. 0.1: the ends are all but reached, and the median lies at 0.01.
    assert steps.aminmax() == pytest.approx((1e-3, 1e-1), rel=0.05)
    assert steps.median().item() == pytest.approx(1e-2, rel=0.2)
    assert block.dt_proj.weight.abs().max().item() == pytest.approx(32**-0.5, rel=0.01)


def test_block_never_lets_a_token_see_a_later_one():
    block, given = mamba(), tokens()
    changed = given.clone()
    changed[:, 12] += 1
    with torch.no_grad():
        before, after = block(given), block(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.isclose(before[:, 12:], after[:, 12:]).all(-1).any()


@pytest.mark.parametrize(("channels", "chunk"), [(8, 4096), (32, 4096), (256, 512), (1 << 18, 1)])
def test_wider_blocks_take_shorter_chunks(channels, chunk):
    with torch.device("meta"):
        assert Mamba(channels).chunk == chunk


def test_chunks_do_not_show():
    block = mamba()
    with torch.no_grad():
        whole = block(tokens())
        block.chunk = 4
        torch.testing.assert_close(block(tokens()), whole)


def test_small_steps_are_float32_under_autocast(monkeypatch):
    seen = {}

    def spy(x, delta, *others, chunk):
        seen.update(x=x.dtype, delta=delta.dtype)
        return x

    monkeypatch.setattr("dyntransnet.networks.mamba.selective_scan", spy)
    with torch.autocast("cpu", torch.bfloat16):
        mamba().float()(tokens().float())
    assert seen == {"x": torch.bfloat16, "delta": torch.float32}
