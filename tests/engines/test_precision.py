"""Which parts are halves, what they are rounded to, and activations that fp16 cannot hold."""

import numpy as np
import onnx
import pytest
from nets import PATCH, Residual, exported
from onnx import TensorProto, helper, numpy_helper

from dyntransnet.contract import ONNX_FILE
from dyntransnet.engines.build import graph_of
from dyntransnet.engines.graphs import element_types
from dyntransnet.engines.norms import with_whole_norms
from dyntransnet.engines.precision import HALVES, with_halves
from dyntransnet.engines.probes import check_agreement, predictor, windows_for
from dyntransnet.engines.ranges import largest_values, too_wide
from dyntransnet.engines.rounding import with_roundings
from dyntransnet.errors import ModelError, ParityError

IMAGE = np.random.default_rng(0).uniform(-1, 1, (3, 1, *PATCH)).astype(np.float32)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)"),
]


@pytest.fixture(scope="module")
def model_of(one_thread, tmp_path_factory):
    """A function from a gain to a network whose activations before a norm grow with it."""
    made = {}

    def model(gain: float):
        if gain not in made:
            folder = tmp_path_factory.mktemp("nets") / "model"
            contract = exported(folder, Residual(gain=gain, affine=True))
            made[gain] = onnx.load(folder / ONNX_FILE), contract
        return made[gain]

    return model


def graph(nodes, *, shape=("n", 3, 4), constants=None) -> onnx.ModelProto:
    values = constants or {}
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in values.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("precision", HALVES)
def test_products_are_halves_and_norms_are_not(model_of, precision):
    model, _ = model_of(1.0)
    halved = with_halves(with_whole_norms(model), precision)
    onnx.checker.check_model(halved, full_check=True)
    types = element_types(halved)
    asked = {(node.op_type, types[node.input[0]]) for node in halved.graph.node}
    assert ("Conv", HALVES[precision]) in asked
    assert ("Conv", TensorProto.FLOAT) not in asked
    assert ("InstanceNormalization", TensorProto.FLOAT) in asked
    assert ("InstanceNormalization", HALVES[precision]) not in asked


@pytest.mark.parametrize("precision", HALVES)
def test_short_sums_stay_in_fp32_where_they_are_left(model_of, precision):
    model, _ = model_of(1.0)
    halved = with_halves(model, precision)
    types = element_types(halved)
    products = [node for node in halved.graph.node if node.op_type in ("MatMul", "Sqrt")]
    assert len(products) > 12
    assert {types[name] for node in products for name in node.input} == {TensorProto.FLOAT}


@pytest.mark.parametrize("precision", HALVES)
def test_input_and_output_keep_name_type_and_shape(model_of, precision):
    model, _ = model_of(1.0)
    halved = with_halves(with_whole_norms(model), precision)
    assert halved.graph.input == model.graph.input
    assert halved.graph.output == model.graph.output


@pytest.mark.parametrize(("precision", "bits"), [("fp16", 11), ("bf16", 8)])
def test_a_half_product_is_rounded_as_arithmetic_says(precision, bits):
    """Against NumPy in fp64, rounded to so many bits by itself."""
    rng = np.random.default_rng(1)
    weights, x = rng.normal(size=(4, 5)), rng.normal(size=(2, 3, 4))
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        constants={"w": weights.astype(np.float32)},
    )
    found = predictor(with_roundings(with_halves(model, precision)))(x.astype(np.float32))

    def kept(values):
        mantissa, exponent = np.frexp(values)
        return np.ldexp(np.round(mantissa * 2.0**bits), exponent) / 2.0**bits

    expected = kept(kept(x.astype(np.float32)) @ kept(weights.astype(np.float32)))
    np.testing.assert_allclose(found, expected, rtol=2.0 ** (1 - bits), atol=1e-6)
    assert np.isin(found, kept(found)).all()
    assert not np.allclose(found, x @ weights, rtol=2.0 ** (-bits - 3))


def test_softmax_and_sums_of_halves_are_computed_in_fp32():
    """4000 times 20 is beyond fp16; the sum is not."""
    model = graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node("Softmax", ["product"], ["share"], axis=-1),
            helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=1),
            helper.make_node("Add", ["share", "sum"], ["y"]),
        ],
        shape=("n", 1, 4),
        constants={"w": np.full((4, 4000), 5.0, np.float32)},
    )
    halved = with_halves(model, "fp16")
    found = predictor(with_roundings(halved))(np.ones((1, 1, 4), np.float32))
    np.testing.assert_allclose(found, 80000 + 1 / 4000)


def test_the_scales_of_a_resize_stay_in_fp32():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Resize", ["product", "", "scales"], ["y"], mode="nearest"),
    ]
    constants = {"w": np.eye(4, dtype=np.float32), "scales": np.array([1, 1, 2], np.float32)}
    halved = with_halves(graph(nodes, constants=constants), "fp16")
    onnx.checker.check_model(halved, full_check=True)
    assert [t.data_type for t in halved.graph.initializer if t.name == "scales"] == [1]
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(predictor(with_roundings(halved))(x), np.repeat(x, 2, axis=2))


def test_activations_that_fp16_cannot_hold_break_a_naive_conversion(model_of):
    """The planted fault: 2e5 before a norm, which is infinite in fp16, and then NaN."""
    model, contract = model_of(2e5)
    windows, reference = windows_for(contract, None), predictor(model)
    naive = predictor(with_roundings(with_halves(with_whole_norms(model), "fp16")))
    assert np.isfinite(reference(windows)).all()
    assert (naive(IMAGE)[:, 0] >= 0).mean() == 0  # a black mask
    with pytest.raises(ParityError, match=r"^fp16: logits must be finite, got NaN or infinity$"):
        check_agreement(reference, naive, windows, who="fp16")


def test_activations_that_fp16_cannot_hold_stay_in_fp32(model_of, capsys):
    model, contract = model_of(2e5)
    halved = graph_of(model, "fp16", windows_for(contract, None))
    assert "tensors are too large for fp16 and stay in fp32" in capsys.readouterr().out
    reference, found = predictor(model)(IMAGE), predictor(with_roundings(halved))(IMAGE)
    assert (
        check_agreement(predictor(model), predictor(with_roundings(halved)), IMAGE, who="") < 0.01
    )
    assert 0 < (reference >= 0).mean() < 1
    assert ((found >= 0) == (reference >= 0)).mean() > 0.99
    types = element_types(halved)
    convolutions = [node for node in halved.graph.node if node.op_type == "Conv"]
    kinds = [types[node.output[0]] for node in convolutions]
    assert sorted(kinds) == [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.FLOAT16]


def test_bf16_holds_what_fp16_cannot(model_of):
    model, contract = model_of(2e5)
    halved = predictor(with_roundings(graph_of(model, "bf16", windows_for(contract, None))))
    assert check_agreement(predictor(model), halved, IMAGE, who="bf16") < 0.05


def test_a_weight_that_fp16_cannot_hold_stays_in_fp32():
    weights = np.array([[1e5, 0], [0, 1], [0, 0], [0, 0]], np.float32)
    model = graph([helper.make_node("MatMul", ["x", "w"], ["y"])], constants={"w": weights})
    x = np.full((1, 3, 4), 0.3, np.float32)
    found = predictor(with_roundings(with_halves(model, "fp16")))(x)
    np.testing.assert_array_equal(found, x @ weights)


def test_infinity_that_masks_is_not_taken_for_a_large_value():
    model = graph(
        [
            helper.make_node("Add", ["x", "mask"], ["masked"]),
            helper.make_node("Softmax", ["masked"], ["y"]),
        ],
        shape=("n", 1, 2, 2, 2),
        constants={"mask": np.array([0, -np.inf], np.float32)},
    )
    windows = np.full((2, 1, 2, 2, 2), -7.0, np.float32)
    assert largest_values(model, windows) == {"masked": 7.0, "y": 1.0}
    assert too_wide(model, windows) == set()


def test_a_model_with_subgraphs_is_refused():
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    node = helper.make_node("If", ["on"], ["y"], then_branch=branch, else_branch=branch)
    model = graph([node], constants={"on": np.array(True)})
    with pytest.raises(ModelError, match=r"^fp16: a model must have no subgraphs, got Loop, If"):
        with_halves(model, "fp16")
