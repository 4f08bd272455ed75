"""The selective scan: a recurrence along tokens whose coefficients the tokens decide.

The length comes last, as Mamba's own CUDA kernel has it. A, B, C and D are the letters
of the paper.
Source: Gu and Dao, Mamba, https://arxiv.org/abs/2312.00752
"""

import importlib
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dyntransnet.errors import ParamsError

Sequence = Float[Tensor, "batch inner length"]
PerState = Float[Tensor, "batch states length"]
State = Float[Tensor, "batch inner states"]
States = Float[Tensor, "batch length inner states"]

MAX_CHUNK = 4096
"""Tokens that one chunk may hold."""


def selective_scan(
    x: Sequence,
    delta: Sequence,
    A: Float[Tensor, "inner states"],  # noqa: N803
    B: PerState,  # noqa: N803
    C: PerState,  # noqa: N803
    D: Float[Tensor, " inner"],  # noqa: N803
    *,
    chunk: int,
) -> Sequence:
    """Run h_t = exp(delta_t A) h_{t-1} + delta_t B_t x_t, y_t = C_t h_t + D x_t from h = 0.

    Only one chunk at a time has its states spelled out; backward computes them again.
    So what is kept grows with the inputs, not with inner * states * length.

    Where ``mamba_ssm`` is installed and the tensors are on CUDA, its kernel runs instead:
    ``mamba_ssm.ops.selective_scan_interface.selective_scan_fn(u, delta, A, B, C, D)`` takes
    the same tensors in the same order and gives the same y.

    Args:
        x: the input of each inner channel.
        delta: positive step sizes.
        A: negative rates, so that no state grows.
        B: how the input enters each state.
        C: how each state shows in the output.
        D: the share of the input that passes by.
        chunk: tokens at a time, up to ``MAX_CHUNK``. It changes memory, not the result.

    Returns:
        y in the type of ``x``; the scan itself runs in fp32 at least, also under autocast.

    Raises:
        ParamsError: ``chunk`` is out of range.
    """
    if not 1 <= chunk <= MAX_CHUNK:
        raise ParamsError(f"chunk must lie in 1 .. {MAX_CHUNK}, got {chunk}")
    wide = torch.promote_types(x.dtype, torch.float32)
    if x.is_cuda and wide == torch.float32 and (kernel := find_kernel()):
        return kernel(*(t.to(wide) for t in (x, delta, A, B, C, D))).to(x.dtype)
    kept = torch.is_grad_enabled() and any(t.requires_grad for t in (x, delta, A, B, C, D))
    scan_chunk = _scan_chunk_again if kept else _scan_chunk
    state = torch.zeros(x.shape[0], *A.shape, dtype=wide, device=x.device)
    outputs = []
    parts = (t.split(chunk, -1) for t in (x, delta, B, C))
    for x_part, delta_part, B_part, C_part in zip(*parts, strict=True):  # noqa: N806
        y, state = scan_chunk(state, x_part, delta_part, B_part, C_part, A, D)
        outputs.append(y)
    return torch.cat(outputs, -1)


@cache
def find_kernel() -> Callable[..., Tensor] | None:
    """Mamba's own CUDA kernel, where it is installed."""
    try:
        module = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    except ImportError:
        return None
    kernel: Callable[..., Tensor] = module.selective_scan_fn
    return kernel


def linear_recurrence(decay: States, drive: States, state: State) -> States:
    """All h_t = decay_t h_{t-1} + drive_t, in log2(length) steps that each work in parallel.

    Two neighbors are one step of the same form, (a', b') after (a, b) = (a' a, a' b + b'):
    solve the half as long recurrence of pairs, then fill in the tokens between. Products
    of decays only ever multiply, so one that underflows is the zero that it should be.

    Args:
        decay: a, at least one token of it.
        drive: b.
        state: h before the first token.

    Source:
        Blelloch, Prefix sums and their applications, CMU-CS-90-190, 1990.
    """
    length = decay.shape[1]
    if length == 1:
        return decay * state[:, None] + drive
    pairs = length // 2
    first_decay, first_drive = decay[:, ::2], drive[:, ::2]
    second_decay, second_drive = decay[:, 1::2], drive[:, 1::2]
    seconds = linear_recurrence(
        second_decay * first_decay[:, :pairs],
        second_decay * first_drive[:, :pairs] + second_drive,
        state,
    )
    before = torch.cat([state[:, None], seconds[:, : length - pairs - 1]], 1)
    firsts = first_decay * before + first_drive
    merged = torch.stack([firsts[:, :pairs], seconds], 2).flatten(1, 2)
    return merged if length % 2 == 0 else torch.cat([merged, firsts[:, pairs:]], 1)


def _scan_chunk(
    state: State,
    x: Sequence,
    delta: Sequence,
    B: PerState,  # noqa: N803
    C: PerState,  # noqa: N803
    A: Float[Tensor, "inner states"],  # noqa: N803
    D: Float[Tensor, " inner"],  # noqa: N803
) -> tuple[Sequence, State]:
    """One chunk's outputs, and the state to carry on."""
    # Tokens first, so that a step over every second one moves whole rows of memory.
    parts = (t.to(state.dtype).transpose(1, 2).contiguous() for t in (x, delta, B, C))
    u, step, enter, show = parts
    decay = torch.exp(step[..., None] * A.to(state.dtype))
    drive = (step * u)[..., None] * enter[:, :, None]
    states = linear_recurrence(decay, drive, state)
    # No matrix product: autocast would run it in half precision.
    y = (states * show[:, :, None]).sum(-1) + u * D.to(state.dtype)
    # A view of the last state would keep the whole chunk's states alive.
    return y.transpose(1, 2).to(x.dtype), states[:, -1].clone()


def _scan_chunk_again(*arguments: Tensor) -> tuple[Sequence, State]:
    """The same, but backward keeps the arguments alone and computes the states again."""
    return checkpoint(_scan_chunk, *arguments, use_reentrant=False, preserve_rng_state=False)
