"""What an ONNX graph holds, read from the file alone."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from dyntransnet.errors import ModelError


def read_model(path: Path) -> onnx.ModelProto:
    """A whole model with its weights.

    Raises:
        ModelError: the file is missing, truncated or no ONNX.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and onnx raise exceptions of their own
        said = " ".join(str(error).split())
        raise ModelError(f"{path}: must be a whole ONNX model, got {said[:200]}") from error
    return model


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Each tensor's type, as ONNX numbers types."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    named = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    return named | {tensor.name: tensor.data_type for tensor in graph.initializer}


def float_constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The values of each fp32 initializer."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }


def is_mean_column(values: np.ndarray | None) -> bool:
    """Whether a product with these values is the mean of a row, as ``ShortSumNorm`` writes it."""
    if values is None or values.shape[1:] != (1,):
        return False
    return bool(np.allclose(values, 1 / len(values), rtol=1e-6, atol=0))
