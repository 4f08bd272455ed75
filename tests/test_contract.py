import json

import pytest
from pydantic import ValidationError

from builders import contract_of
from dyntransnet.contract import CONTRACT_FILE, Contract, IntensityWindow, Label
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
        ({"modality": "MR"}, "modality is not valid, Input should be 'CT'"),
        ({"overlap": 1.0}, "overlap is not valid, Input should be less than 1"),
        ({"overlap": -0.5}, "overlap is not valid, Input should be greater than or equal to 0"),
        ({"threshold": 0}, "threshold is not valid, Input should be greater than 0"),
        ({"intensity": {"low_hu": 240, "high_hu": -160}}, "intensity is not valid, .*low must be"),
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


def test_labels_are_those_of_lits():
    assert [label.value for label in Label] == [0, 1, 2]
