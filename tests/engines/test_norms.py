"""Whole norms against torch in fp64."""

import onnx
import pytest
import torch
from nets import PATCH, Residual, exported

from dyntransnet.contract import ONNX_FILE
from dyntransnet.engines.norms import with_whole_norms
from dyntransnet.engines.probes import predictor

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)"),
]


@pytest.mark.parametrize("affine", [False, True])
def test_a_norm_is_one_node_and_gives_the_same(tmp_path, affine):
    network = Residual(affine=affine)
    exported(tmp_path / "model", network)
    model = onnx.load(tmp_path / "model" / ONNX_FILE)
    whole = with_whole_norms(model)
    operators = [node.op_type for node in whole.graph.node]
    assert operators.count("InstanceNormalization") == 2
    assert "MatMul" not in operators
    assert "Sqrt" not in operators
    windows = torch.randn(2, 1, *PATCH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.double()(windows.double()).numpy()
    assert abs(predictor(whole)(windows.numpy()) - expected).max() < 1e-5


def test_a_model_without_norms_is_left_as_it_is(tmp_path):
    exported(tmp_path / "model", torch.nn.Conv3d(1, 2, 3, padding=1))
    model = onnx.load(tmp_path / "model" / ONNX_FILE)
    assert with_whole_norms(model).graph.node == model.graph.node


def test_a_mean_that_is_no_norm_is_left(tmp_path):
    """Centered, but not scaled."""

    class Centered(torch.nn.Module):
        def forward(self, x):
            for axis in (4, 3, 2):
                edge = x.shape[axis]
                mean = x.movedim(axis, -1) @ torch.full((edge, 1), 1 / edge)
                x = x - mean.movedim(-1, axis)
            return torch.cat([x, x], 1)

    exported(tmp_path / "model", Centered())
    model = onnx.load(tmp_path / "model" / ONNX_FILE)
    operators = [node.op_type for node in with_whole_norms(model).graph.node]
    assert operators.count("MatMul") == 3
    assert "InstanceNormalization" not in operators
