import json
import shutil
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from builders import case_of, contract_of
from caches import SMALL, balls, save_case
from dyntransnet.atomic import sha256_of
from dyntransnet.config import ExportParams, LimitParams
from dyntransnet.contract import ONNX_FILE, Contract, NetworkSpec
from dyntransnet.errors import ModelError, ParityError
from dyntransnet.imaging.intensity import AIR
from dyntransnet.imaging.scan import write_mask, write_scan
from dyntransnet.learning.checkpoint import save_checkpoint
from dyntransnet.networks.registry import build
from dyntransnet.repository import MAX_BATCH_SIZE
from dyntransnet.runtimes import proof, torch_runtime
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.onnx_writer import write_onnx
from dyntransnet.stages import export
from dyntransnet.stages.export import run

PATCH = (16, 32, 32)
SPEC = NetworkSpec(name="dyntransnet_tiny", options=SMALL | {"embed_dim": 32})
STRICT = LimitParams(relative_difference=1e-5, min_dice=0.999, max_dice_change=0.001)
LENIENT = LimitParams(relative_difference=100.0, min_dice=0.0, max_dice_change=1.0)
PARAMS = ExportParams(
    opset=20,
    openvino=("fp32", "bf16", "int8"),
    calibration=2,
    windows=3,
    scans=1,
    limits={"fp32": STRICT, "bf16": LENIENT, "int8": LENIENT},
)
QUICK = PARAMS.model_copy(update={"openvino": (), "scans": 0})
"""The ONNX file alone, in both runtimes."""

FORMS = ["onnxruntime fp32", "openvino fp32", "openvino bf16", "openvino int8"]

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
    scan, mask = case_of()
    write_scan(scan, root / "cases/volume-1/scan.nii.gz")
    write_mask(mask, root / "cases/volume-1/mask.nii.gz")
    (root / "splits.json").write_text(json.dumps({"test": ["volume-1", "volume-9"]}))
    exported_to(root, root, PARAMS)
    return root


def exported_to(place, root, params: ExportParams) -> None:
    run(
        root / "checkpoint",
        root / "cache",
        root / "cases",
        root / "splits.json",
        out=place / "onnx",
        report=place / "report",
        params=params,
    )


@pytest.fixture
def faulty(root, monkeypatch, tmp_path):
    """Export again, with a fault planted into the graph on its way to disk."""

    def export_with(*faults):
        def written(network, path, contract, opset):
            model = onnx.load(root / "onnx" / ONNX_FILE)
            for fault in faults:
                fault(model.graph)
            onnx.save(model, path)

        monkeypatch.setattr(export, "write_onnx", written)
        exported_to(tmp_path, root, QUICK)

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


def lose_mean(graph) -> None:
    """Of the last instance norm: nothing is subtracted."""
    *_, (centered, _) = spelled_norms(graph)
    zero = numpy_helper.from_array(np.zeros((), np.float32), "zero")
    graph.initializer.append(zero)
    centered.input[1] = "zero"


def speak_up(graph) -> None:
    """Weights before a norm, a thousandfold: with its epsilon it takes the scale out again."""
    made = {node.output[0]: node for node in graph.node}
    roots = [node for node in graph.node if node.op_type == "Sqrt"]
    for name in {made[root.input[0]].input[1] for root in roots}:
        scale(graph, name, 1024**2)
    for centered, _ in spelled_norms(graph):
        scale(graph, made[centered.input[0]].input[1], 1024)


def square_in_fp16(graph) -> None:
    """Within instance norms: what is beyond 65504 is infinite there."""
    for name, value in (("fp16_max", 65504.0), ("infinite", np.inf)):
        graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    for _, square in list(spelled_norms(graph)):
        exact, square.output[0] = square.output[0], f"{square.output[0]}_exact"
        found = square.output[0]
        too_large = helper.make_node("Greater", [found, "fp16_max"], [f"{exact}_too_large"])
        half = helper.make_node("Where", [f"{exact}_too_large", "infinite", found], [exact])
        place = list(graph.node).index(square) + 1
        graph.node.insert(place, half)
        graph.node.insert(place, too_large)


def spelled_norms(graph):
    """Of each instance norm: what takes the mean away, and what squares the rest."""
    made = {node.output[0]: node for node in graph.node}
    for node in list(graph.node):
        if node.op_type == "Mul" and node.input[0] == node.input[1]:
            yield made[node.input[0]], node


def shift(graph, name: str, amount: float) -> None:
    change(graph, name, lambda values: values + np.float32(amount))


def scale(graph, name: str, factor: float) -> None:
    change(graph, name, lambda values: values * np.float32(factor))


def change(graph, name: str, function) -> None:
    (tensor,) = [tensor for tensor in graph.initializer if tensor.name == name]
    values = function(numpy_helper.to_array(tensor))
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def test_the_fingerprint_of_the_dataset_goes_along(root):
    assert json.loads((root / "onnx" / "fingerprint.json").read_text()) == {"cases": 2}


@pytest.mark.parametrize(("form", "tolerance"), [*zip(FORMS, [1e-4, 1e-4, 0.4, 0.8], strict=True)])
@pytest.mark.parametrize("batch", [1, 3, MAX_BATCH_SIZE])
def test_every_form_agrees_with_torch(root, form, tolerance, batch):
    windows = np.random.default_rng(1).uniform(-1, 1, (batch, 1, *PATCH)).astype(np.float32)
    reference, _ = torch_runtime.load(root / "checkpoint")
    found = load(root / "onnx", *form.split())[0](windows)
    np.testing.assert_allclose(found, reference(windows), rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", FORMS[:2])
def test_a_window_of_air_agrees_too(root, form):
    """Where all is one value, a norm divides rounding by almost nothing."""
    reference, _ = torch_runtime.load(root / "checkpoint")
    window = np.full((1, 1, *PATCH), AIR, np.float32)
    found = load(root / "onnx", *form.split())[0](window)
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


def test_the_report_says_how_closely_each_form_agrees(root):
    report = json.loads((root / "report/parity.json").read_text())
    assert report["model_sha256"] == Contract.load(root / "onnx").model_sha256
    assert list(report["forms"]) == FORMS
    for row in report["forms"].values():
        assert 0 < row["mean_difference"] < row["max_difference"]
        assert row["windows"]["voxels"] == PARAMS.windows * np.prod(PATCH)
        assert list(row["scans"]) == ["volume-1"]
    for form in FORMS[:2]:
        assert report["forms"][form]["relative_difference"] < STRICT.relative_difference
        assert report["forms"][form]["dice_min"] > STRICT.min_dice


def test_fewer_digits_are_no_closer(root):
    rows = json.loads((root / "report/parity.json").read_text())["forms"]
    exact, *_, int8 = (rows[form]["mean_difference"] for form in FORMS)
    assert exact < int8
    assert rows["openvino int8"]["computed_in"] in ("bf16", "fp32")


def test_the_report_is_a_page_too(root):
    page = (root / "report/report.html").read_text()
    for form in FORMS:
        assert f'<th scope="row">{form}</th>' in page


@pytest.mark.parametrize(
    "faults",
    [
        [swap_last_axes],
        [shift_bias],
        [shift_norm],
        [lose_mean],
        [speak_up, square_in_fp16],
    ],
)
def test_a_planted_fault_is_found_by_every_runtime_and_nothing_is_written(faulty, tmp_path, faults):
    rule = (
        "checkpoint: onnxruntime fp32 logits must be within 1e-05 of torch's largest, got .*; "
        "openvino fp32 logits"
    )
    with pytest.raises(ParityError, match=rule):
        faulty(*faults)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harmless", [[], [speak_up], [square_in_fp16]])
def test_a_graph_without_a_fault_passes(faulty, tmp_path, harmless):
    """Large values are no fault in fp32, nor are small ones in fp16."""
    faulty(*harmless)
    assert (tmp_path / "onnx" / ONNX_FILE).is_file()


def test_one_form_that_disagrees_is_enough(root, faulty, monkeypatch):
    def shifted(folder, name, precision):
        predict, contract = load(folder, name, precision)
        return (lambda x: predict(x) + (0.001 if name == "openvino" else 0)), contract

    monkeypatch.setattr(proof, "load", shifted)
    with pytest.raises(ParityError, match=r"checkpoint: openvino fp32 logits must be [^;]*$"):
        faulty()


def test_a_precision_beyond_its_limits_is_refused_and_nothing_is_written(
    root, tmp_path, monkeypatch
):
    reuse_files(root, monkeypatch)
    limits = PARAMS.limits | {"int8": STRICT}
    with pytest.raises(ParityError, match=r"checkpoint: openvino int8 logits must be within"):
        exported_to(tmp_path, root, PARAMS.model_copy(update={"limits": limits}))
    assert list(tmp_path.iterdir()) == []


def test_whole_scans_have_a_limit_of_their_own(root, tmp_path, monkeypatch):
    """Logits and masks may lie anywhere here; the truth may not be missed by more."""
    reuse_files(root, monkeypatch)

    def compared(truth, reference, tested):
        same = {"voxels": 9000, "changed": 0, "dice": {"liver": 1.0, "tumor": None}}
        sizes = {"liver": 900, "tumor": 0}
        return (
            same
            | {"marked": sizes, "truth": sizes}
            | {"dice_change": {"liver": -0.002, "tumor": None}}
        )

    monkeypatch.setattr(proof, "compare_masks", compared)
    limits = dict.fromkeys(PARAMS.limits, LENIENT) | {
        "bf16": LENIENT.model_copy(update={"max_dice_change": 0.001})
    }
    rule = "checkpoint: openvino bf16 masks must have torch's Dice liver against the truth within "
    with pytest.raises(ParityError, match=rule + r"0\.001, got -0\.00200$"):
        exported_to(tmp_path, root, PARAMS.model_copy(update={"limits": limits}))


def test_without_nncf_nothing_is_written(root, tmp_path, monkeypatch):
    reuse_onnx(root, monkeypatch)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ModelError, match=r"^int8 must have nncf \(pip install "):
        exported_to(tmp_path, root, PARAMS)
    assert list(tmp_path.iterdir()) == []


def reuse_onnx(root, monkeypatch) -> None:
    """Writing takes seconds, and is not what is tested."""

    def copied(network, path, contract, opset):
        shutil.copyfile(root / "onnx" / ONNX_FILE, path)

    monkeypatch.setattr(export, "write_onnx", copied)


def reuse_files(root, monkeypatch) -> None:
    def copied(folder, precisions, windows):
        shutil.copytree(root / "onnx/openvino", folder / "openvino")

    reuse_onnx(root, monkeypatch)
    monkeypatch.setattr(export, "write_openvino", copied)


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
