"""How large a network's values become, and which do not fit into fp16.

A value beyond 65504 is infinite in fp16, the norm after it NaN, and a mask of NaN black: no
error is raised on the way. So what becomes large is found before a graph is written.
"""

import numpy as np
import onnx
import onnxruntime
from jaxtyping import Float32
from onnx import TensorProto, helper, numpy_helper

from dyntransnet.engines.graphs import element_types

FP16_MAX = 65504.0
HEADROOM = 8.0
"""Other scans make larger values than those that were looked at."""

Windows = Float32[np.ndarray, "n 1 x y z"]


def too_wide(model: onnx.ModelProto, windows: Windows) -> set[str]:
    """Tensors that come within ``HEADROOM`` of what fp16 can hold.

    Args:
        model: all its numbers in fp32.
        windows: what the network is shown, one at a time.
    """
    largest = largest_values(model, windows)
    return {name for name, value in largest.items() if value > FP16_MAX / HEADROOM}


def largest_values(model: onnx.ModelProto, windows: Windows) -> dict[str, float]:
    """The largest finite size of each computed fp32 tensor over all windows.

    Infinity, with which attention leaves positions out, is the same in fp16.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    types, graph = element_types(model), watched.graph
    names = [
        name
        for name in (value for node in model.graph.node for value in node.output)
        if types.get(name) == TensorProto.FLOAT
    ]
    graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), "watched_zero"))
    for index, name in enumerate(names):
        size, top = f"watched_size_{index}", f"watched_top_{index}"
        infinite, finite = f"watched_infinite_{index}", f"watched_finite_{index}"
        graph.node.append(helper.make_node("Abs", [name], [size]))
        graph.node.append(helper.make_node("IsInf", [size], [infinite]))
        graph.node.append(helper.make_node("Where", [infinite, "watched_zero", size], [finite]))
        graph.node.append(helper.make_node("ReduceMax", [finite], [top], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(top, TensorProto.FLOAT, []))
    tops = [f"watched_top_{index}" for index in range(len(names))]
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = session.get_inputs()[0].name
    found = np.array([session.run(tops, {given: window[None]}) for window in windows])
    return dict(zip(names, found.max(0).tolist(), strict=True))
