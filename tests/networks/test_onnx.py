import onnx
import pytest
from exports import EXPORTED
from small import patch_of, small, window_of

from dyntransnet.contract import ONNX_FILE
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.torch_runtime import predictor

TOLERANCE = 1e-3
"""Of a logit, in standard deviations of all."""

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # torch 2.13's exporter calls names that torch and onnxscript have since deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)"),
]


@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_runtime_agrees_with_torch(exported, name):
    network, folder = exported(name)
    predict, _ = load(folder, "onnxruntime")
    for batch in (1, 3):
        windows = window_of(small(name), batch)[0].numpy()
        expected = predictor(network)(windows)
        assert abs(predict(windows) - expected).max() <= TOLERANCE * expected.std()


def test_graph_has_a_batch_that_is_named_and_edges_that_are_fixed(exported):
    _, folder = exported("dyntransnet_tiny")
    dims = onnx.load(folder / ONNX_FILE).graph.input[0].type.tensor_type.shape.dim
    edges = patch_of(small("dyntransnet_tiny"))
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 1, *edges]


def test_graph_has_only_plain_operators(exported):
    _, folder = exported("dyntransnet_tiny")
    operators = {node.op_type for node in onnx.load(folder / ONNX_FILE).graph.node}
    assert operators.isdisjoint(
        {"Loop", "If", "Scan", "ScatterND", "Attention", "Einsum", "InstanceNormalization"}
    )
    assert {"LayerNormalization", "ConvTranspose"} <= operators
