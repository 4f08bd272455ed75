import onnx
import pytest
import torch
from small import patch_of, small, window_of

from builders import contract_of
from dyntransnet.atomic import sha256_of
from dyntransnet.contract import ONNX_FILE
from dyntransnet.networks.registry import NETWORKS, build
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.onnx_writer import write_onnx
from dyntransnet.runtimes.torch_runtime import predictor

TOLERANCE = 1e-3
"""Of a logit, in standard deviations of all."""

SLOW = {"dyntransnet_base", "dyntransnet_global_p4", "swin_unetr", "unet_plus_plus", "unetr"}
EXPORTED = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name, entry in NETWORKS.items()
    if not entry.not_exportable
]

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # torch 2.13's exporter calls names that torch and onnxscript have since deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)"),
]


@pytest.fixture(scope="module")
def exported(one_thread, tmp_path_factory):
    """A function from a network's name to itself and the model folder written of it, once."""
    written = {}

    def export(name: str):
        if name not in written:
            torch.manual_seed(0)
            spec = small(name)
            contract = contract_of(network=spec, patch_size=patch_of(spec))
            network = settled(build(spec, patch_of(spec)), window_of(spec, 2)[0])
            folder = tmp_path_factory.mktemp(name)
            write_onnx(network, folder / ONNX_FILE, contract, 20)
            digest = sha256_of(folder / ONNX_FILE)
            contract.model_copy(update={"model_sha256": digest}).save(folder)
            written[name] = network, folder
        return written[name]

    return export


def settled(network: torch.nn.Module, image: torch.Tensor) -> torch.nn.Module:
    """With norms and biases unlike those that a network starts with."""
    generator = torch.Generator().manual_seed(7)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    with torch.no_grad():
        network.train()(image)
    return network.eval()


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
