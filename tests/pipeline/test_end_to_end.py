"""DVC, training, MLflow, ONNX, Triton and the client, all real, on few phantoms."""

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from dyntransnet.atomic import sha256_of
from dyntransnet.client import SegmentationClient
from dyntransnet.contract import Contract
from dyntransnet.imaging.scan import read_mask, read_scan
from dyntransnet.scoring.records import read_cases
from dyntransnet.server import TritonServer

pytestmark = [pytest.mark.slow, pytest.mark.triton]

UP_TO_DATE = "Data and pipelines are up to date"


@pytest.fixture(scope="module")
def registry(workspace) -> MlflowClient:
    return MlflowClient(f"sqlite:///{workspace.path / 'mlflow.db'}")


@pytest.fixture(scope="module")
def server(workspace):
    with TritonServer(workspace.path / "model_repository") as running:
        yield running


@pytest.fixture(scope="module")
def test_case(workspace) -> Path:
    first = json.loads((workspace.path / "data/splits.json").read_text())["test"][0]
    return workspace.path / "data/cases" / first


def test_a_second_repro_does_nothing(workspace):
    assert UP_TO_DATE in workspace.run("dvc", "repro")


def test_metrics_and_plots_show(workspace):
    assert "calibration.tumor.ece" in workspace.run("dvc", "metrics", "show", "--md")
    workspace.run("dvc", "plots", "show", "--out", "build/plots")
    page = (workspace.path / "build/plots/index.html").read_text()
    for plot in yaml.safe_load((workspace.path / "dvc.yaml").read_text())["plots"]:
        assert isinstance(plot, str) or next(iter(plot)) in page


def test_the_report_shows_a_picture_of_a_test_case(workspace):
    page = (workspace.path / "reports/evaluate/report.html").read_text()
    pictures = list((workspace.path / "reports/evaluate/figures").glob("volume-*.png"))
    assert len(pictures) == 1
    assert base64.b64encode(pictures[0].read_bytes()).decode() in page
    assert f"case</b>: {pictures[0].stem}" in page


def test_every_run_says_which_code_and_data_it_saw(workspace, registry):
    champion = registry.get_model_version_by_alias("dyntransnet-liver", "champion")
    run = registry.get_run(champion.run_id)
    assert run.data.tags["git_commit"] == workspace.run("git", "rev-parse", "HEAD").strip()
    manifest = workspace.path / "data/manifest.json"
    data = {
        "manifest_sha256": sha256_of(manifest),
        "source_md5": hashlib.md5((workspace.path / "data/phantoms.yaml").read_bytes()).hexdigest(),
    }
    for tags in (run.data.tags, champion.tags):
        assert data.items() <= tags.items()
    (seen,) = run.inputs.dataset_inputs
    assert (seen.dataset.name, seen.dataset.digest) == ("phantom", data["manifest_sha256"][:10])
    told = workspace.run(
        "dyntransnet", "changes", "models:/dyntransnet-liver@champion"
    ).splitlines()
    assert told[0].endswith(f"7 cases, raw data {data['source_md5']}")
    assert "7 the same" in told
    assert run.data.params["train.steps"] == "30"
    metrics = json.loads((workspace.path / "reports/evaluate/metrics.json").read_text())
    assert run.data.metrics["test_liver_dice"] == pytest.approx(metrics["liver"]["dice"])


def test_loss_falls(workspace):
    rows = (workspace.path / "reports/train/loss.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[1]) for row in rows]
    assert losses[-1] < losses[0]


def test_what_is_published_is_what_was_exported(workspace, registry):
    exported = sha256_of(workspace.path / "models/onnx/model.onnx")
    published = workspace.path / "model_repository/dyntransnet/1"
    champion = registry.get_model_version_by_alias("dyntransnet-liver", "champion")
    assert sha256_of(published / "model.onnx") == exported == champion.tags["model_sha256"]
    assert Contract.load(published).model_sha256 == exported


def test_the_served_mask_is_the_mask_of_the_same_model_in_process(workspace, server, test_case):
    scan = str(test_case / "scan.nii.gz")
    segment = ("dyntransnet", "segment", scan, "--output")
    workspace.run(*segment, "served.nii.gz", "--url", server.url)
    workspace.run(*segment, "local.nii.gz", "--model", "models/onnx")
    served, local = (read_mask(workspace.path / f"{name}.nii.gz") for name in ("served", "local"))
    assert served.labels.any()
    np.testing.assert_array_equal(served.labels, local.labels)
    np.testing.assert_allclose(
        served.affine, read_scan(test_case / "scan.nii.gz").affine, atol=1e-4
    )


def test_evaluation_scores_the_masks_that_are_served(workspace, server, test_case):
    """Torch evaluated, OpenVINO serves: parity must carry over to whole scans."""
    scan = str(test_case / "scan.nii.gz")
    (workspace.path / "truth").mkdir()
    (workspace.path / "truth/scan.nii.gz").write_bytes((test_case / "mask.nii.gz").read_bytes())
    workspace.run("dyntransnet", "segment", scan, "--output", "found/", "--url", server.url)
    workspace.run("dyntransnet", "score", "truth", "found", "--out", "score")
    scores = read_cases(workspace.path / "score/cases.csv")["scan"]
    rows = (workspace.path / "reports/evaluate/cases.csv").read_text().splitlines()
    evaluated = next(row for row in rows if row.startswith(f"{test_case.name},liver"))
    assert scores["liver"]["dice"] == pytest.approx(float(evaluated.split(",")[2]), abs=1e-3)


def test_the_report_carries_volumes_and_the_model_that_answered(workspace, server, test_case):
    with SegmentationClient(server.url) as client:
        found = client.segment(read_scan(test_case / "scan.nii.gz"))
    inside = found.mask.labels > 0
    assert found.report["liver_ml"] == pytest.approx(inside.sum() * found.mask.voxel_ml)
    assert found.report["model_sha256"] == sha256_of(workspace.path / "models/onnx/model.onnx")


def test_the_gate_finds_a_model_no_worse_than_itself(workspace):
    told = workspace.run(
        *("dyntransnet", "gate", "reports/evaluate", "reports/evaluate/cases.csv"),
        *("--patients", "data/splits.json", "--parity", "reports/export/parity.json"),
        *("--models", "models/onnx", "model_repository/dyntransnet/1"),
    )
    forms = "onnxruntime fp32, openvino fp32, openvino bf16, openvino int8"
    assert f"parity with torch: {forms}" in told
    assert "times the baseline's seconds for a scan" in told


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        (
            ("src/dyntransnet/imaging/segment.py", "\n# changed\n"),
            {"evaluate", "export", "register"},
        ),
        (
            ("src/dyntransnet/imaging/lesions.py", "\n# changed\n"),
            {"ingest", "evaluate", "register"},
        ),
        (("src/dyntransnet/stages/publish.py", "\n# changed\n"), {"publish"}),
        (("src/dyntransnet/cli/stages.py", "\n# changed\n"), set()),
    ],
)
def test_a_changed_line_concerns_only_what_runs_it(workspace, change, stages):
    file, added = workspace.path / change[0], change[1]
    before = file.read_text()
    file.write_text(before + added)
    try:
        assert set(json.loads(workspace.run("dvc", "status", "--json", "dvc.yaml"))) == stages
    finally:
        file.write_text(before)


def test_a_changed_phantom_runs_ingest_again(workspace):
    file = workspace.path / "data/phantoms.yaml"
    before = file.read_text()
    file.write_text(before.replace("tumors: 3", "tumors: 4", 1))
    try:
        assert set(json.loads(workspace.run("dvc", "status", "--json", "dvc.yaml"))) == {"ingest"}
    finally:
        file.write_text(before)


def test_a_worse_model_is_registered_but_not_served(workspace, registry):
    """Runs last: it moves the receipt on."""
    served = registry.get_model_version_by_alias("dyntransnet-liver", "champion").version
    workspace.set({"register": {"min_dice_liver": 1.0}})
    output = workspace.run("dvc", "repro")
    assert "refused (Dice liver must be at least 1.0" in output
    assert "Running stage 'train'" not in output
    assert registry.get_model_version_by_alias("dyntransnet-liver", "champion").version == served
    receipt = json.loads((workspace.path / "models/registered.json").read_text())
    assert receipt["champion"]["version"] == str(served)


def test_without_a_champion_a_refused_model_stops_the_pipeline(workspace, registry):
    registry.delete_registered_model_alias("dyntransnet-liver", "champion")
    workspace.set({"register": {"min_dice_tumor": 1.0}})
    output = workspace.run(
        *("dyntransnet", "register", "models/onnx", "reports/evaluate"),
        *("reports/export/parity.json", "data/cases"),
        *("--patients", "data/splits.json", "--run", "reports/train/run.json"),
        *("--out", "build/receipt.json"),
        code=1,
    )
    assert "error: dyntransnet-liver version 1: Dice liver must be at least 1.0" in output
    assert not (workspace.path / "build/receipt.json").exists()
