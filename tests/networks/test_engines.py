"""Every network that can be exported, in halves and as a plan for the paper's own card."""

import onnx
import pytest
from exports import EXPORTED
from small import small, window_of

from dyntransnet.contract import ONNX_FILE, Contract
from dyntransnet.engines.builder import Options, build_plan
from dyntransnet.engines.graphs import element_types
from dyntransnet.engines.norms import with_whole_norms
from dyntransnet.engines.precision import HALVES, HEAVY, with_halves
from dyntransnet.engines.probes import check_agreement, predictor
from dyntransnet.engines.rounding import with_roundings

IN_FP32 = {"InstanceNormalization", "LayerNormalization", "ReduceMean", "Sigmoid", "Softmax"}
PAPERS_CARD = Options(target="tensorrt-rtx", batch=8, compute_capabilities=(89,))
STRAYING = {"fp16": 0.01, "bf16": 0.04}
"""Of untrained networks, root mean square in deviations of the logits."""

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)"),
]


@pytest.fixture(scope="session")
def whole(exported):
    """A function from a network's name to its graph with whole norms, and its contract."""

    def graph(name: str):
        _, folder = exported(name)
        return with_whole_norms(onnx.load(folder / ONNX_FILE)), Contract.load(folder)

    return graph


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", EXPORTED)
def test_halves_are_safe_and_their_graph_builds(exported, whole, name, precision):
    rtx = pytest.importorskip(
        "tensorrt_rtx_bindings", reason="pip install 'dyntransnet[tensorrt-rtx]'"
    )
    model, contract = whole(name)
    halved = with_halves(model, precision)
    types, half = element_types(halved), HALVES[precision]
    asked = {(node.op_type, types.get(node.input[0])) for node in halved.graph.node if node.input}
    assert not {operator for operator, kind in asked if kind == half} & IN_FP32
    assert not {operator for operator, kind in asked if kind == 1} & HEAVY[precision]
    original = predictor(onnx.load(exported(name)[1] / ONNX_FILE))
    windows, rounded = window_of(small(name))[0].numpy(), predictor(with_roundings(halved))
    strayed = check_agreement(original, rounded, windows, who=name)
    assert strayed < STRAYING[precision]
    assert len(build_plan(rtx, halved, contract, PAPERS_CARD)) > 10_000


@pytest.mark.parametrize("name", ["dyntransnet_tiny", "dynunet", "segresnet"])
def test_fp32_builds_with_whole_norms(whole, name):
    rtx = pytest.importorskip(
        "tensorrt_rtx_bindings", reason="pip install 'dyntransnet[tensorrt-rtx]'"
    )
    model, contract = whole(name)
    assert "Sqrt" not in {node.op_type for node in model.graph.node}
    assert len(build_plan(rtx, model, contract, PAPERS_CARD)) > 10_000
