import json
import logging

import numpy as np
import pytest

from dyntransnet.atomic import sha256_of
from dyntransnet.contract import ONNX_FILE
from dyntransnet.errors import ModelError
from dyntransnet.runtimes import openvino_runtime
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.openvino_files import FOLDER, NOTE_FILE
from dyntransnet.runtimes.openvino_writer import write_openvino
from models import flip_a_bit, save_model, threshold_model

PATCH = (4, 6, 5)
IMAGE = np.random.default_rng(0).uniform(-1, 1, (3, 1, *PATCH)).astype(np.float32)
LOGITS = np.concatenate([IMAGE - 0.25, IMAGE - 0.5], axis=1)


@pytest.fixture
def folder(tmp_path):
    """A model folder with what OpenVINO needs in floats."""
    model = threshold_model(0.25, 0.5, patch_size=PATCH)
    save_model(tmp_path / "model", model, patch_size=PATCH)
    write_openvino(tmp_path / "model", ("fp32", "bf16"), IMAGE)
    return tmp_path / "model"


def test_the_note_names_every_file_by_its_hash(folder):
    made = folder / FOLDER
    note = json.loads((made / NOTE_FILE).read_text())
    assert note["onnx_sha256"] == sha256_of(folder / ONNX_FILE)
    assert note["nncf"] is None
    assert set(note["files"]) == {"fp32.xml", "fp32.bin", "bf16.xml", "bf16.bin"}
    assert note["files"] == {name: sha256_of(made / name) for name in note["files"]}


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("bf16", 0.02)])
def test_each_precision_gives_the_logits_of_the_network(folder, precision, tolerance):
    predict, _ = load(folder, "openvino", precision)
    for batch in (1, 3):
        np.testing.assert_allclose(predict(IMAGE[:batch]), LOGITS[:batch], atol=tolerance)


def test_a_cpu_without_bf16_computes_in_fp32_and_says_so(folder, monkeypatch, caplog):
    monkeypatch.setattr(openvino_runtime, "has_bf16", lambda: False)
    with caplog.at_level(logging.WARNING):
        predict, _ = load(folder, "openvino", "bf16")
    np.testing.assert_allclose(predict(IMAGE), LOGITS, atol=1e-6)
    told = "openvino: this CPU has no bf16, so bf16 computes float operators in fp32"
    assert caplog.messages == [told]


def test_fp32_has_nothing_to_say(folder, monkeypatch, caplog):
    monkeypatch.setattr(openvino_runtime, "has_bf16", lambda: False)
    load(folder, "openvino", "fp32")
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("runtime", "precision", "known"),
    [("openvino", "fp8", "fp32, bf16, int8"), ("onnxruntime", "bf16", "fp32")],
)
def test_an_unknown_precision_is_refused_with_those_known(folder, runtime, precision, known):
    rule = rf"^precision of {runtime} must be one of {known}, got {precision}$"
    with pytest.raises(ModelError, match=rule):
        load(folder, runtime, precision)


def test_a_precision_that_was_not_made_is_refused_with_those_that_were(folder):
    rule = r"openvino: must hold int8\.xml \(export\.openvino\), got bf16, fp32 alone$"
    with pytest.raises(ModelError, match=rule):
        load(folder, "openvino", "int8")


def test_a_folder_with_nothing_for_openvino_serves_fp32_alone(tmp_path):
    save_model(tmp_path, threshold_model(0.25, 0.5, patch_size=PATCH), patch_size=PATCH)
    assert load(tmp_path, "openvino")[0](IMAGE).shape == (3, 2, *PATCH)
    with pytest.raises(ModelError, match=r"openvino: must hold openvino\.json, got No such file"):
        load(tmp_path, "openvino", "bf16")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_files_of_another_network_are_refused(folder, tmp_path, precision):
    other = threshold_model(0.1, 0.6, patch_size=PATCH)
    save_model(folder, other, patch_size=PATCH)
    rule = r"openvino: must be made from the ONNX file with sha256 \w{64}, got \w{64}$"
    with pytest.raises(ModelError, match=rule):
        load(folder, "openvino", precision)


@pytest.mark.parametrize("name", ["bf16.xml", "bf16.bin"])
def test_a_damaged_file_is_named(folder, name):
    flip_a_bit(folder / FOLDER / name)
    with pytest.raises(ModelError, match=rf"{name}: sha256 must be \w{{64}}, got \w{{64}}$"):
        load(folder, "openvino", "bf16")


@pytest.mark.parametrize("name", ["bf16.xml", "bf16.bin"])
def test_a_truncated_file_is_named(folder, name):
    content = (folder / FOLDER / name).read_bytes()
    (folder / FOLDER / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=rf"{name}: sha256 must be \w{{64}}, got \w{{64}}$"):
        load(folder, "openvino", "bf16")


def test_a_truncated_onnx_file_is_named(folder):
    content = (folder / ONNX_FILE).read_bytes()
    (folder / ONNX_FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"model\.onnx: sha256 must be \w{64}, got \w{64}$"):
        load(folder, "openvino", "bf16")


def test_a_missing_file_is_named(folder):
    (folder / FOLDER / "bf16.bin").unlink()
    with pytest.raises(ModelError, match=r"bf16\.bin: sha256 must be \w{64}, got no file$"):
        load(folder, "openvino", "bf16")


@pytest.mark.parametrize("content", ["", "[]", '{"files": {}}', "\x00"])
def test_a_note_that_is_something_else_is_one_line(folder, content):
    (folder / FOLDER / NOTE_FILE).write_text(content)
    with pytest.raises(ModelError, match=r"openvino\.json: .+ is not valid, ") as caught:
        load(folder, "openvino", "bf16")
    assert "\n" not in str(caught.value)


def test_a_file_that_openvino_cannot_read_is_named(folder):
    graph = folder / FOLDER / "bf16.xml"
    graph.write_text("<net/>")
    note = json.loads((folder / FOLDER / NOTE_FILE).read_text())
    note["files"]["bf16.xml"] = sha256_of(graph)
    (folder / FOLDER / NOTE_FILE).write_text(json.dumps(note))
    rule = r"bf16\.xml: must be readable by openvino, got "
    with pytest.raises(ModelError, match=rule) as caught:
        load(folder, "openvino", "bf16")
    assert "\n" not in str(caught.value)
