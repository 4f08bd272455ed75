import onnx
import onnxruntime as ort
import pytest
import torch

from dyntransnet.contract import NetworkSpec
from dyntransnet.networks.registry import build

EDGES = (16, 32, 48)
TOLERANCE = 1e-4

pytestmark = [
    # torch 2.13's exporter calls names that torch and onnxscript have since deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)"),
]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build(NetworkSpec(name="dyntransnet_tiny", options={})).eval()


@pytest.fixture(scope="module")
def model_path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    with torch.no_grad():
        torch.onnx.export(
            network,
            (torch.randn(2, 1, *EDGES),),
            path,
            dynamo=True,
            opset_version=20,
            external_data=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1, max=8)}},
        )
    return path


@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_runtime_agrees_with_torch(network, model_path, batch):
    image = torch.randn(batch, 1, *EDGES)
    session = ort.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": image.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network(image), rtol=0, atol=TOLERANCE)


def test_graph_has_a_batch_that_is_named_and_edges_that_are_fixed(model_path):
    graph = onnx.load(model_path).graph
    dims = graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 1, *EDGES]


def test_graph_has_only_plain_operators(model_path):
    operators = {node.op_type for node in onnx.load(model_path).graph.node}
    assert operators.isdisjoint({"Loop", "If", "Scan", "ScatterND", "Attention", "Einsum"})
    assert {"InstanceNormalization", "LayerNormalization", "ConvTranspose"} <= operators
