"""A network with norms, written for OpenVINO in every precision."""

import sys

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from builders import blobs, contract_of
from dyntransnet.atomic import sha256_of
from dyntransnet.contract import ONNX_FILE, Contract
from dyntransnet.errors import ModelError
from dyntransnet.imaging.intensity import AIR
from dyntransnet.runtimes import openvino_runtime
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.onnx_writer import write_onnx
from dyntransnet.runtimes.openvino_files import FOLDER, PRECISIONS
from dyntransnet.runtimes.openvino_norms import fold_norms
from dyntransnet.runtimes.openvino_writer import TELEMETRY, _without_telemetry, write_openvino

PATCH = (32, 24, 40)
NORMS = 3

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)"),
]


def small_network() -> nn.Module:
    """Norms with weights, with others, and without any; a sharp answer at the end."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1, bias=False),
        nn.InstanceNorm3d(4, affine=True),
        nn.LeakyReLU(),
        nn.Conv3d(4, 32, 3, padding=1, bias=False),
        nn.InstanceNorm3d(32, affine=True, eps=1e-3),
        nn.LeakyReLU(),
        nn.Conv3d(32, 4, 3, padding=1, bias=False),
        nn.InstanceNorm3d(4),
        nn.Conv3d(4, 2, 1),
    )
    for norm in (network[1], network[4]):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, -1, 1)
    network[-1].weight.data *= 10
    return network.eval()


@pytest.fixture(scope="module")
def network(one_thread) -> nn.Module:
    return small_network()


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    """Mostly air, whose long sums lose digits, and some structure."""
    found = np.full((3, 1, *PATCH), AIR, np.float32)
    for index in range(3):
        found[index, 0, :, 6:20, 9:] = blobs((32, 14, 31), seed=index) / 2
    return found


@pytest.fixture(scope="module")
def folder(network, windows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    contract = contract_of(patch_size=PATCH)
    write_onnx(network, folder / ONNX_FILE, contract, 20)
    digest = sha256_of(folder / ONNX_FILE)
    contract.model_copy(update={"model_sha256": digest}).save(folder)
    write_openvino(folder, PRECISIONS, windows)
    return folder


@pytest.fixture(scope="module")
def exact(network, windows) -> np.ndarray:
    """The logits in double precision."""
    double = small_network().double()
    with torch.no_grad():
        return double(torch.from_numpy(windows).double()).numpy()


def graph_of(folder, precision: str) -> openvino.Model:
    return openvino.Core().read_model(folder / FOLDER / f"{precision}.xml")


def types_of(model: openvino.Model) -> list[str]:
    return [node.get_type_name() for node in model.get_ordered_ops()]


def test_fp32_keeps_its_digits_in_a_window_of_mostly_air(folder, windows, exact):
    predict, _ = load(folder, "openvino", "fp32")
    for batch in (1, 3):
        assert abs(predict(windows[:batch]) - exact[:batch]).max() < 1e-4


@pytest.mark.parametrize(("precision", "share"), [("bf16", 0.02), ("int8", 0.1)])
def test_fewer_digits_stay_near(folder, windows, exact, precision, share):
    found = load(folder, "openvino", precision)[0](windows)
    assert abs(found - exact).mean() < share * exact.std()


def test_bf16_is_what_runs_where_the_cpu_has_it(folder, windows, exact):
    found = load(folder, "openvino", "bf16")[0](windows)
    assert (abs(found - exact).max() > 1e-3) == openvino_runtime.has_bf16()


def test_without_bf16_in_the_cpu_bf16_is_fp32(folder, windows, monkeypatch):
    exactly = load(folder, "openvino", "fp32")[0](windows)
    monkeypatch.setattr(openvino_runtime, "has_bf16", lambda: False)
    np.testing.assert_array_equal(load(folder, "openvino", "bf16")[0](windows), exactly)


def test_int8_is_not_fp32(folder, windows, exact):
    assert abs(load(folder, "openvino", "int8")[0](windows) - exact).max() > 1e-3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_norm_is_one_operator(folder, precision):
    types = types_of(graph_of(folder, precision))
    assert types.count("MVN") == NORMS
    assert "MatMul" not in types
    assert "Sqrt" not in types


def test_int8_quantizes_convolutions_and_no_norm(folder):
    model = graph_of(folder, "int8")
    fed = [
        value.get_node().get_type_name()
        for node in model.get_ops()
        if node.get_type_name() in ("MVN", "Reshape")
        for value in node.input_values()[:1]
    ]
    assert types_of(model).count("FakeQuantize") == 1  # the image of the one large convolution
    assert "FakeQuantize" not in fed


def test_tensors_keep_their_names(folder):
    contract = Contract.load(folder)
    for precision in PRECISIONS:
        model = graph_of(folder, precision)
        assert contract.input_name in model.input(0).get_names()
        assert contract.output_name in model.output(0).get_names()


def test_the_same_network_gives_the_same_bytes(folder, windows):
    """MLflow keeps one version per file: exporting again must not make another."""
    before = {path.name: sha256_of(path) for path in (folder / FOLDER).iterdir()}
    write_openvino(folder, PRECISIONS, windows)
    after = {path.name: sha256_of(path) for path in (folder / FOLDER).iterdir()}
    assert after == before


def test_no_precision_means_no_folder(tmp_path):
    write_openvino(tmp_path, (), np.zeros((1, 1, *PATCH), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_square_of_something_else_is_left_alone():
    """x - m, squared and summed, as in a loss: no norm follows."""
    op = openvino.opset15
    image = op.parameter([-1, 2, 3, 4, 5], np.float32, name="image")
    centered = op.subtract(image, op.constant(np.float32(0.5)))
    square = op.multiply(centered, centered)
    model = openvino.Model([op.add(square, op.constant(np.float32(1)))], [image], "squares")
    before = types_of(model)
    assert fold_norms(model, in_rows=True) == 0
    assert types_of(model) == before


def test_without_nncf_int8_says_what_to_install_and_leaves_what_was_there(folder, monkeypatch):
    before = sorted(path.name for path in (folder / FOLDER).iterdir())
    monkeypatch.setitem(sys.modules, "nncf", None)
    rule = r"^int8 must have nncf \(pip install 'dyntransnet\[pipeline\]'\), got [^\n]+$"
    with pytest.raises(ModelError, match=rule):
        write_openvino(folder, ("int8",), np.zeros((1, 1, *PATCH), np.float32))
    assert sorted(path.name for path in (folder / FOLDER).iterdir()) == before


def test_nncf_is_imported_where_it_cannot_tell_of_its_use():
    before = sys.modules.get(TELEMETRY)
    with _without_telemetry(), pytest.raises(ImportError):
        __import__(TELEMETRY)
    assert sys.modules.get(TELEMETRY) is before
