"""What a network costs, counted without computing anything.

Networks are built and run on tensors that have a shape and no values, so that even the
largest is counted in seconds and in no memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from dyntransnet.contract import NetworkSpec
from dyntransnet.networks.registry import NETWORKS, Triple, build, multiple_of, shown

Precision = Literal["fp32", "bf16", "fp16"]

AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

HEADER = (
    "| network | from | parameters, M | GMACs | edges, multiples of | ONNX | published |",
    "|---|---|--:|--:|---|---|---|",
)


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: that are trained.
        gmacs: 10^9 multiply-adds of one window's forward pass, in convolutions and matrix
            products alone.
        activation_bytes: what a training step keeps of a batch for its backward pass.
    """

    parameters: int
    gmacs: float
    activation_bytes: int


def cost_of(
    spec: NetworkSpec, patch_size: Triple, *, batch: int = 1, precision: Precision = "fp32"
) -> Cost:
    """Count what a network costs.

    Weights, their gradients, the optimizer and a kernel's workspace come on top of the
    activations. These are counted under a CPU's autocast; a GPU's keeps more in fp32.

    Args:
        spec: the network.
        patch_size: of a window, in voxels.
        batch: windows of a training step.
        precision: of the training step.

    Raises:
        ParamsError: as ``build``.
    """
    counted, share = _counted_patch(spec, patch_size)
    network = build_without_values(spec, patch_size)
    kept = activation_bytes_of(network, counted, batch=batch, precision=precision)
    return Cost(_parameters(network), gmacs_of(network, counted) / share, round(kept / share))


def table(patch_size: Triple) -> str:
    """Every network of the registry with its defaults, as a Markdown table.

    Args:
        patch_size: that the multiply-adds are counted for; it must fit all networks.
    """
    rows = [_row(NetworkSpec(name=name, options={}), patch_size) for name in NETWORKS]
    return "\n".join([*HEADER, *rows]) + "\n"


def document(patch_size: Triple = (96, 96, 96)) -> str:
    """The page docs/networks.md."""
    edges = " x ".join(map(str, patch_size))
    return (
        "# Networks\n\n"
        "Each can be named in params.yaml (`network.name`). The figures are for its default\n"
        f"options; multiply-adds (10^9) are one forward pass over {edges} voxels, counted in\n"
        "convolutions and matrix products. Written by\n"
        "`dyntransnet networks --out docs/networks.md`.\n\n" + table(patch_size)
    )


def build_without_values(spec: NetworkSpec, patch_size: Triple) -> nn.Module:
    """Build a network on the meta device: its parameters have shapes and no memory.

    Raises:
        ParamsError: as ``build``.
    """
    with torch.device("meta"), _ValuesWhereRead():
        return build(spec, patch_size)


def gmacs_of(network: nn.Module, patch_size: Triple) -> float:
    """Billions of multiply-adds of one window's forward pass.

    Args:
        network: on the meta device.
        patch_size: of the window, in voxels.
    """
    # Attention in its plain form: the counter does not know every fused kernel.
    with (
        FakeTensorMode(),
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        functional_call(network.eval(), _fakes_of(network), torch.empty(1, 1, *patch_size))
    return counter.get_total_flops() / 2e9


def activation_bytes_of(
    network: nn.Module, patch_size: Triple, *, batch: int, precision: Precision
) -> int:
    """Bytes that a training forward pass keeps for its backward pass, without the parameters.

    Args:
        network: on the meta device.
        patch_size: of a window, in voxels.
        batch: windows at once.
        precision: of the training step.
    """
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with FakeTensorMode():
        fakes, image = _fakes_of(network), torch.empty(batch, 1, *patch_size)
        with (
            torch.autocast("cpu", AUTOCAST[precision], enabled=precision != "fp32"),
            saved_tensors_hooks(note, lambda tensor: tensor),
        ):
            functional_call(network.train(), fakes, image)
    for tensor in fakes.values():
        kept.pop(tensor.untyped_storage()._cdata, None)
    return sum(storage.nbytes() for storage in kept.values())


def _fakes_of(network: nn.Module) -> dict[str, Tensor]:
    """Its weights on a CPU that is not there: on the meta device autocast does nothing."""
    return {
        name: torch.empty(tensor.shape, dtype=tensor.dtype).requires_grad_(tensor.requires_grad)
        for name, tensor in chain(network.named_parameters(), network.named_buffers())
    }


def _counted_patch(spec: NetworkSpec, patch_size: Triple) -> tuple[Triple, float]:
    """The patch to count, and its share of the voxels that are asked for."""
    if not NETWORKS[spec.name].is_linear:
        return patch_size, 1.0
    x, y, z = (2 * multiple for multiple in multiple_of(spec))
    return (x, y, z), x * y * z / prod(patch_size)


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _row(spec: NetworkSpec, patch_size: Triple) -> str:
    entry, network = NETWORKS[spec.name], build_without_values(spec, patch_size)
    counted, share = _counted_patch(spec, patch_size)
    cells = [
        f"`{spec.name}`",
        entry.origin,
        f"{_parameters(network) / 1e6:.2f}",
        f"{gmacs_of(network, counted) / share:.1f}",
        shown(multiple_of(spec)),
        f"no: {entry.not_exportable}" if entry.not_exportable else "yes",
        f"<{entry.source}>",
    ]
    return f"| {' | '.join(cells)} |"


class _ValuesWhereRead(TorchFunctionMode):
    """Networks draw schedules by linspace and read them as numbers while they are built."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.linspace:
            kwargs = {"device": "cpu"} | kwargs
        return func(*args, **kwargs)
