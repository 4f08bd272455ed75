import json

import pytest

from dyntransnet.errors import ModelError
from dyntransnet.service.versions import (
    RECEIPT_FILE,
    TRAFFIC_FILE,
    Traffic,
    next_version,
    read_receipt,
    read_traffic,
    write_receipt,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "1/openvino").mkdir(parents=True)
    for name in ("model.onnx", "openvino/a.bin", "model.py"):
        (tmp_path / "1" / name).write_text(name)
    write_receipt(tmp_path / "1", {"model": "liver", "version": "7"})
    return tmp_path / "1"


def test_without_a_switch_the_first_version_has_the_traffic(tmp_path):
    assert read_traffic(tmp_path) == Traffic(version=1, before=None, last=1)


def test_a_switch_that_goes_away_changes_nothing_for_who_knew_it(tmp_path):
    assert read_traffic(tmp_path, Traffic(3, 2, 3)) == Traffic(3, 2, 3)


def test_a_switch_is_read_as_it_was_saved(tmp_path):
    Traffic(version=4, before=2, last=5).save(tmp_path)
    assert read_traffic(tmp_path) == Traffic(4, 2, 5)
    assert read_traffic(tmp_path).kept == [2, 4]


@pytest.mark.parametrize("content", ["", "[]", '{"weight": 1}', "\x00"])
def test_a_damaged_switch_is_named(tmp_path, content):
    (tmp_path / TRAFFIC_FILE).write_text(content)
    with pytest.raises(ModelError, match=r"traffic\.json: must name versions, got "):
        read_traffic(tmp_path)


def test_no_number_is_used_twice(folder):
    network = folder.parent
    assert next_version(network) == 2
    Traffic(version=1, before=None, last=4).save(network)
    assert next_version(network) == 5
    (network / "9").mkdir()
    assert next_version(network) == 10


def test_a_receipt_names_every_file_and_where_they_came_from(folder):
    receipt = read_receipt(folder)
    assert (receipt["model"], receipt["version"]) == ("liver", "7")
    assert sorted(receipt["files"]) == ["model.onnx", "openvino/a.bin"]


def test_a_folder_without_a_receipt_says_nothing(tmp_path):
    assert read_receipt(tmp_path) == {}


@pytest.mark.parametrize("name", ["model.onnx", "openvino/a.bin"])
def test_a_changed_file_is_named(folder, name):
    (folder / name).write_text("other")
    with pytest.raises(ModelError, match=rf"{name}: sha256 must be \w{{64}}, got \w{{64}}$"):
        read_receipt(folder)


def test_a_file_that_is_gone_or_new_is_named(folder):
    (folder / "openvino/b.bin").touch()
    with pytest.raises(ModelError, match=r"must hold what was published, got openvino/b\.bin"):
        read_receipt(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: sha256 must be \w+, got no file"):
        read_receipt(folder)


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"files": 3})])
def test_a_damaged_receipt_is_named(folder, content):
    (folder / RECEIPT_FILE).write_text(content)
    with pytest.raises(ModelError, match=r"published\.json: must list files, got "):
        read_receipt(folder)
