import json

import pytest
from pydantic import ValidationError

from builders import contract_of
from dyntransnet.contract import CONTRACT_FILE, Contract, IntensityWindow, IntensityZScore, Label
from dyntransnet.errors import ModelError


def saved(folder, **changes) -> None:
    """A contract with changed values, unchecked; None removes a key."""
    values = json.loads(contract_of().model_dump_json()) | changes
    kept = {key: value for key, value in values.items() if value is not None}
    (folder / CONTRACT_FILE).write_text(json.dumps(kept))


def test_a_contract_survives_its_file(tmp_path):
    contract = contract_of(spacing_mm=(1.5, 0.9, 4.0), patch_size=(64, 48, 32), overlap=0.25)
    contract.save(tmp_path)
    assert Contract.load(tmp_path) == contract


def test_a_folder_without_contract_is_named(tmp_path):
    with pytest.raises(
        ModelError, match=rf"{tmp_path.name}: must hold contract\.json, got No such"
    ):
        Contract.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spacing": [1, 1, 1]}, "spacing is not valid, Extra inputs"),
        ({"model_sha256": None}, "model_sha256 is not valid, Field required"),
        ({"spacing_mm": [3, 0, 3]}, r"spacing_mm\.1 is not valid, Input should be greater than 0"),
        ({"patch_size": [32, 32]}, r"patch_size\.2 is not valid, Field required"),
        ({"patch_size": [32, 32, 1.5]}, r"patch_size\.2 is not valid, Input should be a valid int"),
        ({"classes": ["tumor", "liver"]}, r"classes\.0 is not valid, Input should be 'liver'"),
        ({"version": 2}, "version is not valid, Input should be 1"),
        ({"modality": "PT"}, "modality is not valid, Input should be 'CT' or 'MR'"),
        ({"modality": "MR"}, "the file is not valid, .*must be CT for intensity window, got MR"),
        ({"overlap": 1.0}, "overlap is not valid, Input should be less than 1"),
        ({"overlap": -0.5}, "overlap is not valid, Input should be greater than or equal to 0"),
        ({"threshold": 0}, "threshold is not valid, Input should be greater than 0"),
        (
            {"intensity": {"low_hu": 240, "high_hu": -160}},
            r"intensity\.window is not .*low must",
        ),
        ({"intensity": {"kind": "minmax"}}, "intensity is not valid, .*'minmax'"),
        ({"intensity": {"kind": 3}}, "intensity is not valid, "),
        ({"intensity": []}, "intensity is not valid, "),
        ({"intensity": {"kind": "zscore"}}, r"intensity\.zscore\.percentiles is not .*required"),
    ],
)
def test_each_broken_rule_is_named_with_its_key(tmp_path, changes, message):
    saved(tmp_path, **changes)
    with pytest.raises(ModelError, match=rf"contract\.json: {message}"):
        Contract.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / CONTRACT_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"contract\.json: the file is not valid, "):
        Contract.load(tmp_path)


def test_a_contract_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        contract_of().overlap = 0.1


@pytest.mark.parametrize("window", [(240, -160), (40, 40), (float("nan"), 40)])
def test_intensity_windows_rise(window):
    with pytest.raises(ValidationError, match=r"low must be below high|finite number"):
        IntensityWindow(low_hu=window[0], high_hu=window[1])


@pytest.mark.parametrize("ends", [(99.5, 0.5), (0, 101), (-1, 50), (5, 5)])
def test_percentiles_rise(ends):
    with pytest.raises(ValidationError, match=r"percentiles must rise within 0 and 100"):
        IntensityZScore(percentiles=ends, deviations=3)


def test_a_contract_for_mri_survives_its_file(tmp_path):
    rule = IntensityZScore(percentiles=(0.5, 99.5), deviations=3)
    contract = contract_of(intensity=rule, modality="MR")
    contract.save(tmp_path)
    assert Contract.load(tmp_path) == contract
    assert json.loads((tmp_path / CONTRACT_FILE).read_text())["intensity"]["kind"] == "zscore"


def test_a_contract_from_before_there_were_kinds_has_a_window(tmp_path):
    saved(tmp_path, intensity={"low_hu": -160, "high_hu": 240}, modality=None)
    contract = Contract.load(tmp_path)
    assert contract.intensity == IntensityWindow(low_hu=-160, high_hu=240)
    assert contract.modality == "CT"


def test_labels_are_those_of_lits():
    assert [label.value for label in Label] == [0, 1, 2]
