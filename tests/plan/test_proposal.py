import json
import shutil
from pathlib import Path

import pytest
import yaml
from test_plan_rules import dataset

from dyntransnet.config import Params
from dyntransnet.contract import IntensityWindow, IntensityZScore
from dyntransnet.errors import InputError, ParamsError
from dyntransnet.networks.registry import build
from dyntransnet.plan.proposal import bytes_of, read_fingerprint, run

OURS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def params(tmp_path) -> Path:
    return Path(shutil.copy(OURS, tmp_path / "params.yaml"))


@pytest.fixture
def manifest(tmp_path) -> Path:
    found = dataset((2.0, 2.2, 3.0), (170, 150, 70))
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"version": 1, "cases": [], "fingerprint": found.model_dump()}))
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [("16GB", 16e9), ("16 GiB", 16 * 2**30), ("11.5gb", 11.5e9), ("900 MB", 9e8), ("1mib", 2**20)],
)
def test_amounts_of_memory_are_read(text, expected):
    assert bytes_of(text) == expected


@pytest.mark.parametrize("text", ["16", "GB", "-1GB", "0GB", "1e3GB", "16TB", "", "16GBs"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ParamsError, match="--memory must be an amount such as 16GB or 16GiB, got"):
        bytes_of(text)


def test_each_value_is_told_with_its_reason_and_nothing_is_changed(params, manifest):
    before = params.read_bytes()
    lines = run(manifest, "4GB", network=None, write=False, params=params)
    assert lines[0] == "network.name: dyntransnet_tiny  # 4GB for training in bf16"
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "preprocess.spacing_mm", "preprocess.intensity", "train.patch_size", "train.batch_size",
    ]  # fmt: skip
    assert all("  # " in line for line in lines)
    assert params.read_bytes() == before


def test_on_request_they_are_written_and_all_else_stays(params, manifest):
    before = Params.load(params)
    lines = run(manifest, "3GB", network="segresnet", write=True, params=params)
    after = Params.load(params)
    assert after.network.name == "segresnet"
    assert f"train.patch_size: {list(after.train.patch_size)}  #" in "\n".join(lines)
    assert f"preprocess.spacing_mm: {list(after.preprocess.spacing_mm)}  #" in "\n".join(lines)
    assert after.preprocess.intensity == IntensityWindow(low_hu=-20, high_hu=205)
    assert "preprocess.intensity: {kind: window, low_hu: -20.0, high_hu: 205.0}  #" in "\n".join(
        lines
    )
    build(after.network, after.train.patch_size)
    changed = {"patch_size", "batch_size"}
    assert after.train.model_dump(exclude=changed) == before.train.model_dump(exclude=changed)
    assert after.split == before.split
    comments = [
        [line.partition("#")[2] for line in text.splitlines()]
        for text in (OURS.read_text(), params.read_text())
    ]
    assert comments[0] == comments[1]


def test_the_network_of_params_yaml_keeps_its_options(params, manifest):
    text = (
        params.read_text()
        .replace("  name: dyntransnet_tiny ", "  name: segresnet ")
        .replace("  name: dyntransnet_tiny\n", "  name: segresnet\n")
    )
    params.write_text(text.replace("  options: {}", "  options: {init_filters: 8}"))
    run(manifest, "3GB", network="segresnet", write=True, params=params)
    assert Params.load(params).network.options == {"init_filters": 8}
    run(manifest, "3GB", network="dynunet", write=True, params=params)
    assert Params.load(params).network.options == {}


def save_mri(manifest: Path) -> dict:
    """Make it a dataset of MRI; a z-score with other numbers than those proposed."""
    found = dataset((2.0, 2.2, 3.0), (170, 150, 70), modality="MR").model_dump()
    manifest.write_text(json.dumps({"cases": [], "fingerprint": found}))
    return {"kind": "zscore", "percentiles": [1.0, 99.0], "deviations": 2.0}


def test_mri_is_planned_with_a_z_score(params, manifest):
    values = yaml.safe_load(params.read_text())
    values["preprocess"]["intensity"] = save_mri(manifest)
    values["ingest"]["modality"] = "MR"
    params.write_text(yaml.safe_dump(values))
    lines = run(manifest, "3GB", network="segresnet", write=True, params=params)
    rule = "preprocess.intensity: {kind: zscore, percentiles: [0.5, 99.5], deviations: 3.0}  #"
    assert rule in "\n".join(lines)
    found = Params.load(params).preprocess.intensity
    assert found == IntensityZScore(percentiles=(0.5, 99.5), deviations=3)


def test_a_plan_for_mri_is_not_written_where_ct_is_taken_in(params, manifest):
    save_mri(manifest)
    before = params.read_bytes()
    rule = r"preprocess\.intensity must be a rule for CT \(ingest\.modality\), got zscore"
    with pytest.raises(ParamsError, match=rule):
        run(manifest, "3GB", network="segresnet", write=True, params=params)
    assert params.read_bytes() == before


def test_a_models_own_fingerprint_will_do(params, manifest, tmp_path):
    alone = tmp_path / "fingerprint.json"
    alone.write_text(json.dumps(json.loads(manifest.read_text())["fingerprint"]))
    assert read_fingerprint(alone) == read_fingerprint(manifest)


@pytest.mark.parametrize("text", ["", "[]", "{", "7", '{"cases": []}', '{"fingerprint": {}}'])
def test_a_file_without_a_fingerprint_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(
        InputError, match=r"manifest\.json: must (be readable JSON|hold a f)"
    ) as caught:
        read_fingerprint(tmp_path / "manifest.json")
    assert "\n" not in str(caught.value)


def test_an_unknown_network_is_refused_and_nothing_written(params, manifest):
    before = params.read_bytes()
    with pytest.raises(ParamsError, match=r"^network\.name must be one of .* got 'huge'$"):
        run(manifest, "4GB", network="huge", write=True, params=params)
    assert params.read_bytes() == before
