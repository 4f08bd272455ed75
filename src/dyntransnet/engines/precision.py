"""An fp32 graph with its heavy work in half precision, for strongly typed TensorRT.

Convolutions and matrix products compute in fp16 or bf16. Norms, softmax, sigmoid, reductions
and all operators that are not named here stay in fp32, as do input and output.
"""

from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from dyntransnet.engines.graphs import element_types, float_constants, is_mean_column
from dyntransnet.errors import ModelError

HALVES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
"""Precision to ONNX's type of its values."""

HEAVY = {
    "fp16": frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"}),
    # TensorRT for RTX 1.7 builds no transposed convolution in bf16.
    "bf16": frozenset({"Conv", "Einsum", "Gemm", "MatMul"}),
}
"""What half precision is for."""

MOVING = frozenset(
    {
        "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad",
        "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
        "Unsqueeze",
    }
)  # fmt: skip
"""Passes values on; nothing is lost where they already are halves."""

POINTWISE = frozenset(
    {
        "Abs", "Add", "Clip", "Div", "Elu", "Erf", "Gelu", "LeakyRelu", "Max", "Min", "Mul", "Neg",
        "PRelu", "Relu", "Sub", "Tanh", "Where",
    }
)  # fmt: skip
"""Computes in halves only where all that it is given are halves: within a norm, none are."""

ASKS_SHAPE = frozenset({"Shape", "Size"})
FIXED_INPUTS = {"Resize": (1, 2)}
"""Operator to inputs whose type is fp32 by definition: Resize's region and scales."""

BF16_OPSET = 22
"""The first at which Conv may be given bf16."""

CHANGED_IN_MEANING = frozenset({"GroupNormalization"})
"""What opset 22 computes unlike opset 20; all others took on types alone."""


def with_halves(
    model: onnx.ModelProto, precision: str, wide: Set[str] = frozenset()
) -> onnx.ModelProto:
    """A copy of a model that computes in fp16 or bf16 where that is safe.

    Args:
        model: all its numbers in fp32, without subgraphs.
        precision: a key of ``HALVES``.
        wide: tensors whose values do not fit; what reads or writes one stays in fp32.

    Raises:
        ModelError: the model has operators that cannot be brought to this precision.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    _check(halved, precision)
    floats, half = float_constants(model), HALVES[precision]
    wide = wide | {name for name, values in floats.items() if not _fits(values, half)}
    writer = _Writer(half, HEAVY[precision], element_types(model), floats, wide)
    for node in model.graph.node:
        writer.write(node)
    writer.finish([output.name for output in model.graph.output])
    del halved.graph.node[:], halved.graph.value_info[:]
    halved.graph.node.extend(writer.nodes)
    used = {name for node in writer.nodes for name in node.input}
    kept = [tensor for tensor in halved.graph.initializer if tensor.name in used]
    del halved.graph.initializer[:]
    halved.graph.initializer.extend([*kept, *writer.constants])
    return halved


def _check(model: onnx.ModelProto, precision: str) -> None:
    """Refuse what is not understood, and raise the opset where bf16 needs it."""
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        raise ModelError(f"{precision}: a model must have no subgraphs, got Loop, If or Scan")
    (standard,) = [entry for entry in model.opset_import if not entry.domain]
    if precision == "bf16" and standard.version < BF16_OPSET:
        found = CHANGED_IN_MEANING & {node.op_type for node in model.graph.node}
        if found:
            raise ModelError(f"bf16: a model must be of opset {BF16_OPSET}, got {min(found)}")
        standard.version = BF16_OPSET


def _fits(values: np.ndarray, half: int) -> bool:
    largest = np.abs(values[np.isfinite(values)]).max(initial=0)
    return half != TensorProto.FLOAT16 or bool(largest <= np.finfo(np.float16).max)


@dataclass
class _Writer:
    """The nodes written so far, and which tensors are halves in them."""

    half: int
    heavy: Set[str]
    types: dict[str, int]
    floats: dict[str, np.ndarray]
    wide: Set[str]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    halves: set[str] = field(default_factory=set)
    _made: set[str] = field(default_factory=set)

    def write(self, node: NodeProto) -> None:
        """Add a node in the precision that its operator and its inputs call for."""
        copy = NodeProto()
        copy.CopyFrom(node)
        if node.op_type not in ASKS_SHAPE:
            as_half = self._is_half(node)
            fixed = FIXED_INPUTS.get(node.op_type, ())
            for index, name in enumerate(node.input):
                if self._is_float(name) and index not in fixed:
                    copy.input[index] = self._cast(name, as_half=as_half)
            if as_half:
                self.halves.update(filter(self._is_float, node.output))
        self.nodes.append(copy)

    def finish(self, outputs: list[str]) -> None:
        """Give the graph's outputs back in fp32, under their names."""
        for name in self.halves.intersection(outputs):
            inner = f"{name}_half"
            for node in self.nodes:
                for names in (node.input, node.output):
                    names[:] = [inner if each == name else each for each in names]
            self.nodes.append(helper.make_node("Cast", [inner], [name], to=TensorProto.FLOAT))

    def _is_half(self, node: NodeProto) -> bool:
        if self.wide & {*node.input, *node.output}:
            return False
        if node.op_type in self.heavy:
            is_mean = node.op_type == "MatMul" and is_mean_column(self.floats.get(node.input[1]))
            return not is_mean
        fixed = FIXED_INPUTS.get(node.op_type, ())
        given = [
            name in self.halves
            for index, name in enumerate(node.input)
            if self._is_float(name) and name not in self.floats and index not in fixed
        ]
        if node.op_type in MOVING:
            return any(given)
        return node.op_type in POINTWISE and bool(given) and all(given)

    def _is_float(self, name: str) -> bool:
        return self.types.get(name) == TensorProto.FLOAT

    def _cast(self, name: str, *, as_half: bool) -> str:
        """The name of a tensor in the precision that is asked for; it is made once."""
        if (name in self.halves) == as_half:
            return name
        cast = f"{name}_as_{'half' if as_half else 'float'}"
        if cast not in self._made:
            self._made.add(cast)
            kind = self.half if as_half else TensorProto.FLOAT
            if name in self.floats:
                values = self.floats[name].astype(helper.tensor_dtype_to_np_dtype(kind))
                self.constants.append(numpy_helper.from_array(values, cast))
            else:
                self.nodes.append(helper.make_node("Cast", [name], [cast], to=kind))
        return cast
