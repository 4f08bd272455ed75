import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from builders import contract_of
from caches import balls, save_case
from dyntransnet.atomic import sha256_of
from dyntransnet.config import ExportParams
from dyntransnet.contract import ONNX_FILE, Contract, NetworkSpec
from dyntransnet.errors import ModelError, ParityError
from dyntransnet.imaging.intensity import AIR
from dyntransnet.learning.checkpoint import save_checkpoint
from dyntransnet.networks.registry import build
from dyntransnet.repository import MAX_BATCH_SIZE
from dyntransnet.runtimes import torch_runtime
from dyntransnet.runtimes.choice import RUNTIMES, load
from dyntransnet.scoring.parity import ParityLimits, disagreements
from dyntransnet.stages import export
from dyntransnet.stages.export import compare, liver_windows, run, write_onnx

PATCH = (16, 32, 32)
SPEC = NetworkSpec(name="dyntransnet_tiny", options={})
PARAMS = ExportParams(opset=20, windows=3, max_difference=1e-4, min_dice=0.999)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # torch 2.13's exporter calls names that torch and onnxscript have since deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)"),
]


@pytest.fixture(scope="module")
def root(one_thread, tmp_path_factory):
    """A fresh network's checkpoint, a cache, and what export makes of them."""
    root = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    contract = contract_of(network=SPEC, patch_size=PATCH)
    weights = build(SPEC, contract.patch_size).state_dict()
    save_checkpoint(weights, contract, root / "checkpoint", fingerprint={"cases": 2})
    for seed in range(2):
        save_case(root / "cache" / f"volume-{seed}", balls(seed=seed))
    exported_to(root, root)
    return root


def exported_to(place, root) -> None:
    run(
        root / "checkpoint",
        root / "cache",
        out=place / "onnx",
        report=place / "report",
        params=PARAMS,
    )


@pytest.fixture
def faulty(root, monkeypatch, tmp_path):
    """Export again, with a fault planted into the graph on its way to disk."""

    def export_with(fault):
        def written(network, path, contract, opset):
            model = onnx.load(root / "onnx" / ONNX_FILE)
            fault(model.graph)
            onnx.save(model, path)

        monkeypatch.setattr(export, "write_onnx", written)
        exported_to(tmp_path, root)

    return export_with


def swap_last_axes(graph) -> None:
    """The window's, whose edges are equal: every shape stays."""
    for node in graph.node:
        node.input[:] = ["swapped" if name == "image" else name for name in node.input]
    swap = helper.make_node("Transpose", ["image"], ["swapped"], perm=[0, 1, 2, 4, 3])
    graph.node.insert(0, swap)


def shift_bias(graph) -> None:
    """The last bias, by little more than the limit."""
    (last,) = [node for node in graph.node if "logits" in node.output]
    shift(graph, last.input[2], 2e-4)


def shift_norm(graph) -> None:
    """The offset of the first normalization."""
    norm = next(node for node in graph.node if node.op_type == "LayerNormalization")
    shift(graph, norm.input[2], 0.01)


def shift(graph, name: str, amount: float) -> None:
    (tensor,) = [tensor for tensor in graph.initializer if tensor.name == name]
    values = numpy_helper.to_array(tensor) + np.float32(amount)
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def test_the_fingerprint_of_the_dataset_goes_along(root):
    assert json.loads((root / "onnx" / "fingerprint.json").read_text()) == {"cases": 2}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("batch", [1, 3, MAX_BATCH_SIZE])
def test_every_runtime_agrees_with_torch(root, runtime, batch):
    windows = np.random.default_rng(1).uniform(-1, 1, (batch, 1, *PATCH)).astype(np.float32)
    reference, _ = torch_runtime.load(root / "checkpoint")
    found = load(root / "onnx", runtime)[0](windows)
    np.testing.assert_allclose(found, reference(windows), rtol=0, atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_window_of_air_agrees_too(root, runtime):
    """Where all is one value, a norm divides rounding by almost nothing."""
    reference, _ = torch_runtime.load(root / "checkpoint")
    window = np.full((1, 1, *PATCH), AIR, np.float32)
    found = load(root / "onnx", runtime)[0](window)
    np.testing.assert_allclose(found, reference(window), rtol=0, atol=1e-4)


def test_the_graph_has_the_contracts_tensors_and_the_opset_asked_for(root):
    model, contract = onnx.load(root / "onnx" / ONNX_FILE), Contract.load(root / "onnx")
    assert [tensor.name for tensor in model.graph.input] == [contract.input_name]
    assert [tensor.name for tensor in model.graph.output] == [contract.output_name]
    assert [one.version for one in model.opset_import if one.domain == ""] == [PARAMS.opset]


def test_the_contract_is_signed_for_the_graph_and_else_unchanged(root):
    before, after = Contract.load(root / "checkpoint"), Contract.load(root / "onnx")
    assert after.model_sha256 == sha256_of(root / "onnx" / ONNX_FILE)
    assert after == before.model_copy(update={"model_sha256": after.model_sha256})


def test_the_report_says_how_closely_each_runtime_agrees(root):
    report = json.loads((root / "report/parity.json").read_text())
    assert report["windows"] == PARAMS.windows
    assert set(report["runtimes"]) == set(RUNTIMES)
    for row in report["runtimes"].values():
        assert 0 < row["mean_difference"] < row["max_difference"] < PARAMS.max_difference
        assert row["dice_min"] > PARAMS.min_dice


@pytest.mark.parametrize("fault", [swap_last_axes, shift_bias, shift_norm])
def test_a_planted_fault_is_found_by_every_runtime_and_nothing_is_written(faulty, tmp_path, fault):
    rule = (
        "checkpoint: onnxruntime logits must be within 0.0001 of torch's, got .*; openvino logits"
    )
    with pytest.raises(ParityError, match=rule):
        faulty(fault)
    assert list(tmp_path.iterdir()) == []


def test_one_runtime_that_disagrees_is_enough(root, faulty, monkeypatch):
    def shifted(folder, name):
        predict, contract = load(folder, name)
        return (lambda x: predict(x) + (0.001 if name == "openvino" else 0)), contract

    monkeypatch.setattr(export, "load", shifted)
    with pytest.raises(ParityError, match=r"checkpoint: openvino logits must be within [^;]*$"):
        faulty(lambda graph: None)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    """MLflow keeps one version per file: exporting again must not make another."""
    options = {"depths": [1], "heads": [1], "windows": [2]}
    small = NetworkSpec(name="dyntransnet_tiny", options=options)
    network, contract = build(small, (4, 8, 12)), contract_of(network=small, patch_size=(4, 8, 12))
    for name in "ab":
        write_onnx(network, tmp_path / name, contract, 18)
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")
    assert onnx.load(tmp_path / "a").opset_import[0].version == 18


def test_a_checkpoint_of_another_network_is_named(root, tmp_path):
    shutil.copytree(root / "checkpoint", tmp_path / "checkpoint")
    other = SPEC.model_copy(update={"options": {"stem_dim": 12}})
    Contract.load(root / "checkpoint").model_copy(update={"network": other}).save(
        tmp_path / "checkpoint"
    )
    with pytest.raises(
        ModelError, match=r"checkpoint: weights must fit dyntransnet_tiny, got [^\n]*$"
    ):
        torch_runtime.load(tmp_path / "checkpoint")


def constant(*values: float):
    """A network of two windows of 2 x 3 x 4 voxels, with one value for each class."""
    logits = np.zeros((2, 2, 2, 3, 4), np.float32)
    logits += np.reshape(values, (1, 2, 1, 1, 1)).astype(np.float32)
    return lambda windows: logits


WINDOWS = np.zeros((2, 1, 2, 3, 4), np.float32)


def test_the_difference_is_that_of_the_logits_and_dice_that_of_the_masks():
    row = compare(constant(0.5, 1.0), constant(0.25, -1.0), WINDOWS)
    assert row["max_difference"] == 2.0
    assert row["mean_difference"] == pytest.approx((0.25 + 2) / 2)
    assert row["dice"] == {"liver": 1.0, "tumor": 0.0}
    assert row["dice_min"] == 0.0


def test_masks_that_are_empty_on_both_sides_agree():
    row = compare(constant(-1, -1), constant(-1, -1), WINDOWS)
    assert (row["dice"], row["dice_min"]) == ({"liver": None, "tumor": None}, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_break_the_limit(value):
    row = compare(constant(0.5, 1.0), constant(value, 1.0), WINDOWS)
    (line, *_) = disagreements({"openvino": row}, ParityLimits(1e-4, 0.999))
    assert line == f"openvino logits must be within 0.0001 of torch's, got {value:.3g}"


def test_windows_of_other_shapes_than_torchs_are_a_disagreement():
    def one_channel(windows):
        return constant(0.5, 1.0)(windows)[:, :1]

    with pytest.raises(
        ParityError, match=r"logits must be of shape \(2, 2, 2, 3, 4\), got \(2, 1, "
    ):
        compare(constant(0.5, 1.0), one_channel, WINDOWS)


def test_windows_are_cut_around_tumors_else_livers_else_anywhere(tmp_path):
    for name, tumor, liver in (("a", 4, 8), ("b", 0, 8), ("c", 0, 0)):
        save_case(tmp_path / name, balls(tumor=tumor, liver=liver))
    (tmp_path / "grid.json").write_text("{}")
    windows = liver_windows(tmp_path, contract_of(patch_size=(4, 6, 2)), 3)
    assert windows.shape == (3, 1, 4, 6, 2)
    middle = windows[:, 0, 2, 3, 1]
    np.testing.assert_allclose(middle[:2], [0.2, 0.6], atol=1e-3)
    assert (windows[2] == -0.5).all()


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (2, [0, 2]), (4, [0, 1, 2, 3]), (6, [0, 0, 1, 2, 2, 3])]
)
def test_windows_are_spread_over_the_cases(tmp_path, count, expected):
    for index in range(4):
        label = balls()
        save_case(tmp_path / str(index), label, np.full(label.shape, index / 4))
    windows = liver_windows(tmp_path, contract_of(patch_size=(4, 6, 2)), count)
    assert (windows[:, 0, 0, 0, 0] * 4).tolist() == expected
