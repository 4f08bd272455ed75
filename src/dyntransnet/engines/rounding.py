"""What a network in half precision answers, computed on a CPU.

No CPU runtime computes these graphs as they say: ONNX Runtime takes casts out and has no
bf16. Here each half is computed in fp32 and rounded, so that an overflow shows.
"""

import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from dyntransnet.engines.graphs import element_types
from dyntransnet.engines.precision import MOVING

HALF_TYPES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def with_roundings(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph with halves whose numbers are all fp32, and rounded where it has halves."""
    types = element_types(model)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    del rounded.graph.node[:], rounded.graph.value_info[:], rounded.graph.initializer[:]
    rounded.graph.initializer.extend(_as_float(tensor) for tensor in model.graph.initializer)
    for node in model.graph.node:
        rounded.graph.node.extend(_rounded(node, types))
    return rounded


def _as_float(tensor: TensorProto) -> TensorProto:
    if tensor.data_type not in HALF_TYPES:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name)


def _rounded(node: NodeProto, types: dict[str, int]) -> list[NodeProto]:
    copy, after = NodeProto(), []
    copy.CopyFrom(node)
    if node.op_type not in MOVING:  # what was rounded before stays so
        for index, name in enumerate(node.output):
            if types.get(name) in HALF_TYPES:
                exact, half = f"{name}_exact", f"{name}_rounded"
                copy.output[index] = exact
                after.append(helper.make_node("Cast", [exact], [half], to=types[name]))
                after.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    if node.op_type == "Cast" and after:  # to a half: the first cast after it does that
        copy.attribute[0].i = TensorProto.FLOAT
    return [copy, *after]
