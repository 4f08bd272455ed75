import numpy as np
import pytest

from builders import affine_of, blobs
from dyntransnet.imaging.scan import Mask, Scan, read_mask, read_scan, write_mask, write_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.proof import computed_in, prove
from dyntransnet.scoring.overlap import dice
from models import save_model, threshold_model

SHAPE = (32, 24, 15)
WINDOWS = np.random.default_rng(0).uniform(-1, 1, (2, 1, 16, 16, 16)).astype(np.float32)
FORMS = [("onnxruntime", "fp32"), ("openvino", "fp32")]


@pytest.fixture
def cases(tmp_path):
    """Two oblique scans; what is bright is liver, the brightest tumor."""
    folders = [tmp_path / "cases" / name for name in ("volume-4", "volume-7")]
    for seed, folder in enumerate(folders):
        values = blobs(SHAPE, seed=seed)
        affine = affine_of(SHAPE, (2.0, 3.0, 5.0), "LPS", tilt_deg=8.0)
        write_scan(Scan("x", np.rint(values * 60).astype(np.int16), affine), folder / "scan.nii.gz")
        labels = (values > 0.3).astype(np.uint8) + (values > 1.2)
        write_mask(Mask(labels, affine), folder / "mask.nii.gz")
    return folders


@pytest.fixture
def model(tmp_path):
    save_model(tmp_path / "model", threshold_model(0.2, 0.7))
    return tmp_path / "model"


def test_a_runtime_that_does_the_same_changes_nothing(model, cases):
    reference, _ = load(model, "onnxruntime")
    found = dict(prove(model, FORMS, reference, windows=WINDOWS, cases=cases))
    assert list(found) == ["onnxruntime fp32", "openvino fp32"]
    for row in found.values():
        assert row["max_difference"] < 1e-6
        assert row["dice_min"] == 1.0
        assert row["dice_change"] == {"liver": 0.0, "tumor": 0.0}
        assert list(row["scans"]) == ["volume-4", "volume-7"]


def test_what_a_shift_does_to_whole_scans_is_that_of_its_masks(model, cases, tmp_path):
    save_model(tmp_path / "other", threshold_model(0.25, 0.6))
    (reference, contract), (shifted, _) = (
        load(tmp_path / name, "onnxruntime") for name in ("other", "model")
    )
    ((_, row),) = prove(model, FORMS[:1], reference, windows=WINDOWS, cases=cases)
    scan, truth = read_scan(cases[1] / "scan.nii.gz"), read_mask(cases[1] / "mask.nii.gz")
    before, after = (segment(scan, one, contract).labels for one in (reference, shifted))
    found = row["scans"]["volume-7"]
    assert found["changed"] == (before != after).sum() > 0
    tumor = dice(truth.labels == 2, after == 2) - dice(truth.labels == 2, before == 2)
    assert found["dice_change"]["tumor"] == pytest.approx(tumor)
    assert tumor != 0


def test_logits_are_compared_where_there_is_no_scan(model):
    reference, _ = load(model, "onnxruntime")
    ((form, row),) = prove(
        model, FORMS[:1], lambda x: reference(x) + 0.125, windows=WINDOWS, cases=[]
    )
    assert (form, row["scans"]) == ("onnxruntime fp32", {})
    assert row["max_difference"] == pytest.approx(0.125)
    assert (row["runtime"], row["precision"], row["computed_in"]) == ("onnxruntime", "fp32", "fp32")


def test_only_openvino_may_compute_in_something_else_than_was_asked(monkeypatch):
    from dyntransnet.runtimes import openvino_runtime

    monkeypatch.setattr(openvino_runtime, "has_bf16", lambda: False)
    asked = [("onnxruntime", "fp32"), ("openvino", "bf16"), ("openvino", "int8")]
    assert [computed_in(*one) for one in asked] == ["fp32", "fp32", "fp32"]
