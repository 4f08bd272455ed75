"""Instance norms as single nodes again.

The exported file holds each as short sums (docs/decisions/0011-norms.md), for CPU runtimes that
add up whole windows in one running sum. A GPU adds in trees, and TensorRT for RTX 1.7 cannot
build the short sums: here each becomes the operator that has a kernel of its own.
"""

from collections import defaultdict

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from dyntransnet.engines.graphs import float_constants, is_mean_column


def with_whole_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model with an ``InstanceNormalization`` for each ``ShortSumNorm``."""
    merged = onnx.ModelProto()
    merged.CopyFrom(model)
    search = _Search(model)
    del merged.graph.node[:]
    for node in model.graph.node:
        norm = search.norm_ending_at(node)
        merged.graph.node.extend(norm or [node])
    merged.graph.initializer.extend(search.constants)
    _drop_unused(merged.graph)
    return merged


class _Search:
    """Who makes and who reads each tensor."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.floats = float_constants(model)
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.readers[name].append(node)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.dims = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*inferred.input, *inferred.value_info, *inferred.output)
        }
        self.constants: list[onnx.TensorProto] = []

    def norm_ending_at(self, node: NodeProto) -> list[NodeProto] | None:
        """The norm whose last node this is, as one node; None where it is none's."""
        scaled, bias = node, None
        if node.op_type == "Add" and (bias := self._per_channel(node.input[1])) is not None:
            scaled = self.makers.get(node.input[0], node)
        if scaled.op_type != "Mul" or (bias is None and self._is_shifted(scaled)):
            return None
        centered, scale = scaled.input
        weight = None
        maker = self.makers.get(scale)
        if maker is not None and maker.op_type == "Mul":
            scale, weight = maker.input[0], self._per_channel(maker.input[1])
        source, epsilon = self._source(centered), self._epsilon(scale, centered)
        if source is None or epsilon is None or (weight is None) != (bias is None):
            return None
        channels = self.dims[source][1]
        names = [
            self._keep(f"{node.output[0]}_{kind}", values, default, channels)
            for kind, values, default in (("weight", weight, 1.0), ("bias", bias, 0.0))
        ]
        whole = helper.make_node(
            "InstanceNormalization",
            [source, *names],
            [node.output[0]],
            name=node.name,
            epsilon=epsilon,
        )
        return [whole]

    def _is_shifted(self, scaled: NodeProto) -> bool:
        """Whether a bias follows, which belongs to the norm too."""
        return any(
            reader.op_type == "Add" and self._per_channel(reader.input[1]) is not None
            for reader in self.readers[scaled.output[0]]
        )

    def _source(self, centered: str) -> str | None:
        """What a tensor is but for its own mean."""
        maker = self.makers.get(centered)
        if maker is None or maker.op_type != "Sub":
            return None
        source = maker.input[0]
        return source if self._is_mean(maker.input[1], source) else None

    def _epsilon(self, scale: str, centered: str) -> float | None:
        """What was added to the variance, where a scale is one over its root."""
        name, added = scale, ""
        for operator in ("Reciprocal", "Sqrt", "Add"):
            maker = self.makers.get(name)
            if maker is None or maker.op_type != operator:
                return None
            name, added = maker.input[0], maker.input[-1]
        epsilon, squares = self.floats.get(added), self._averaged(name)
        square = self.makers.get(squares)
        if epsilon is None or epsilon.size != 1 or square is None or square.op_type != "Mul":
            return None
        if list(square.input) != [centered, centered] or not self._is_mean(name, squares):
            return None
        return float(epsilon.item())

    def _is_mean(self, name: str, source: str) -> bool:
        """Whether a tensor is the mean of another over all axes but the first two."""
        dims, wide = self.dims.get(name, []), self.dims.get(source, [])
        fits = len(dims) == len(wide) == 5 and dims[:2] == wide[:2] and dims[2:] == [1, 1, 1]
        return fits and name != source and self._averaged(name) == source

    def _averaged(self, name: str) -> str:
        """Back through means of rows, and the turns between them."""
        while (maker := self.makers.get(name)) is not None:
            is_mean = maker.op_type == "MatMul" and is_mean_column(self.floats.get(maker.input[1]))
            if not is_mean and maker.op_type != "Transpose":
                break
            name = maker.input[0]
        return name

    def _per_channel(self, name: str) -> np.ndarray | None:
        values = self.floats.get(name)
        return values if values is not None and values.shape[1:] == (1, 1, 1) else None

    def _keep(self, name: str, values: np.ndarray | None, default: float, channels: int) -> str:
        kept = np.full(channels, default, np.float32) if values is None else values.reshape(-1)
        self.constants.append(numpy_helper.from_array(kept, name))
        return name


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove what no output depends on."""
    needed, kept = {output.name for output in graph.output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)
