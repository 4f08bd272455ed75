import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from dyntransnet.atomic import sha256_of
from dyntransnet.config import PublishParams
from dyntransnet.contract import CONTRACT_FILE, FINGERPRINT_FILE, ONNX_FILE, Contract
from dyntransnet.errors import ModelError
from dyntransnet.runtimes.choice import load
from dyntransnet.service.versions import (
    RECEIPT_FILE,
    TRAFFIC_FILE,
    Traffic,
    read_receipt,
    read_traffic,
)
from dyntransnet.stages import publish
from models import flip_a_bit

PARAMS = PublishParams(backend="python", runtime="openvino", precision="fp32")


@pytest.fixture
def registered(bench):
    """Version 1 is champion, version 2 was refused."""
    bench.register((0.9, 0.7))
    bench.register((0.9, 0.5), name="worse", low=0.17)
    shutil.copyfile(bench.root / "worse/onnx" / ONNX_FILE, bench.root / "second.onnx")
    return bench


def published(bench, params: PublishParams = PARAMS) -> Path:
    publish.run(bench.root / "registered.json", bench.root / "repository", params)
    return bench.root / "repository/dyntransnet"


def artifact(bench, version: int, name: str) -> Path:
    """Where the registry keeps a version's file."""
    return Path(bench.version(version).source.removeprefix("file://")) / name


def test_the_champion_is_published_byte_for_byte(registered):
    folder, exported = published(registered) / "1", registered.root / "model/onnx"
    for name in (ONNX_FILE, CONTRACT_FILE):
        assert (folder / name).read_bytes() == (exported / name).read_bytes()


def test_what_is_published_can_be_run(registered):
    _, contract = load(published(registered) / "1", "onnxruntime")
    assert contract.model_sha256 == registered.version(1).tags["model_sha256"]


def test_an_alias_moved_by_hand_is_obeyed(registered, capsys):
    registered.client.set_registered_model_alias("liver", "champion", "2")
    folder = published(registered)
    assert sha256_of(folder / "1" / ONNX_FILE) == sha256_of(registered.root / "second.onnx")
    assert "publish: liver version 2 -> " in capsys.readouterr().out


def test_what_is_published_says_where_it_came_from(registered):
    receipt = read_receipt(published(registered) / "1")
    assert (receipt["model"], receipt["version"]) == ("liver", "1")
    assert receipt["files"][ONNX_FILE] == registered.version(1).tags["model_sha256"]


def test_the_fingerprint_goes_with_the_model(bench):
    bench.register((0.9, 0.7), fingerprint='{"a": "fingerprint"}')
    assert (published(bench) / "1" / FINGERPRINT_FILE).read_text() == '{"a": "fingerprint"}'


def test_publishing_for_a_restart_takes_the_traffic_back_to_the_first_folder(registered):
    folder = published(registered)
    Traffic(version=3, before=2, last=3).save(folder)
    published(registered)
    assert not (folder / TRAFFIC_FILE).exists()
    assert read_traffic(folder).version == 1


def test_publishing_again_replaces_the_model(registered):
    published(registered)
    registered.client.set_registered_model_alias("liver", "champion", "2")
    folder = published(registered)
    assert Contract.load(folder / "1").model_sha256 == sha256_of(folder / "1" / ONNX_FILE)
    files = [path.name for path in (folder / "1").rglob("*") if path.is_file()]
    assert sorted(files) == [CONTRACT_FILE, FINGERPRINT_FILE, ONNX_FILE, RECEIPT_FILE]


@pytest.mark.parametrize("backend", ["python", "onnxruntime"])
def test_the_configuration_fits_the_contract(registered, backend):
    folder = published(registered, PARAMS.model_copy(update={"backend": backend}))
    config = text_format.Parse(
        (folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
    )
    contract = Contract.load(folder / "1")
    assert config.backend == backend
    assert (config.input[0].name, config.output[0].name) == ("image", "logits")
    assert tuple(config.input[0].dims) == (1, *contract.patch_size)
    assert tuple(config.output[0].dims) == (2, *contract.patch_size)


def test_the_runtime_of_the_python_backend_is_told(registered):
    text = (published(registered) / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.parameters["runtime"].string_value == "openvino"


@pytest.fixture
def made_for_openvino(bench):
    bench.register((0.9, 0.7), openvino=("fp32", "bf16"))
    return bench


BF16 = PARAMS.model_copy(update={"precision": "bf16"})


def test_what_was_made_for_openvino_is_published_and_runs(made_for_openvino):
    folder = published(made_for_openvino, BF16)
    predict, _ = load(folder / "1", "openvino", "bf16")
    assert predict(np.zeros((1, 1, 16, 16, 16), np.float32)).shape == (1, 2, 16, 16, 16)
    config = text_format.Parse(
        (folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
    )
    assert config.parameters["precision"].string_value == "bf16"


def test_what_was_published_before_does_not_stay(made_for_openvino):
    published(made_for_openvino, BF16)
    made_for_openvino.register((0.92, 0.72), name="other", low=0.17)
    assert list((published(made_for_openvino) / "1/openvino").iterdir()) == []


def test_a_precision_that_the_champion_lacks_is_named_and_nothing_is_published(registered):
    with pytest.raises(ModelError, match=r"openvino: must hold openvino\.json, got "):
        published(registered, BF16)
    assert not (registered.root / "repository").exists()


def test_a_changed_list_of_files_is_not_published(made_for_openvino):
    note = artifact(made_for_openvino, 1, "openvino/openvino.json")
    note.write_text(note.read_text() + " ")
    rule = r"^liver version 1: openvino/openvino\.json must have the registered sha256 "
    with pytest.raises(ModelError, match=rule):
        published(made_for_openvino)


def test_a_changed_file_for_openvino_is_not_published(made_for_openvino):
    flip_a_bit(artifact(made_for_openvino, 1, "openvino/bf16.bin"))
    with pytest.raises(ModelError, match=r"bf16\.bin: sha256 must be "):
        published(made_for_openvino, BF16)
    assert not (made_for_openvino.root / "repository").exists()


def test_a_changed_network_is_not_published(registered):
    flip_a_bit(artifact(registered, 1, ONNX_FILE))
    rule = r"^liver version 1: model\.onnx must have the registered sha256 \w{64}, got \w{64}$"
    with pytest.raises(ModelError, match=rule):
        published(registered)
    assert not (registered.root / "repository").exists()


def test_another_network_with_a_contract_of_its_own_is_not_published(registered):
    for name in (ONNX_FILE, CONTRACT_FILE):
        shutil.copyfile(registered.root / "worse/onnx" / name, artifact(registered, 1, name))
    with pytest.raises(
        ModelError, match=r"^liver version 1: model\.onnx must have the registered sha256"
    ):
        published(registered)


def test_the_contract_of_another_network_is_not_published(registered):
    source = registered.root / "worse/onnx" / CONTRACT_FILE
    shutil.copyfile(source, artifact(registered, 1, CONTRACT_FILE))
    with pytest.raises(
        ModelError, match=r"^liver version 1: contract\.json must have the registered"
    ):
        published(registered)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (ONNX_FILE, r"model\.onnx must have the registered .*, got no file$"),
        (CONTRACT_FILE, r"must hold contract"),
    ],
)
def test_a_file_that_is_gone_is_named(registered, name, rule):
    artifact(registered, 1, name).unlink()
    with pytest.raises(ModelError, match=rule):
        published(registered)


def test_nothing_is_published_where_no_version_holds_the_alias(registered):
    registered.client.delete_registered_model_alias("liver", "champion")
    with pytest.raises(
        ModelError, match=r"^liver: a version must hold the alias champion, got none"
    ):
        published(registered)


def test_nothing_is_published_from_a_registry_that_does_not_know_the_model(registered):
    receipt = registered.root / "registered.json"
    receipt.write_text(json.dumps({"model": "lung", "alias": "champion"}))
    with pytest.raises(
        ModelError, match=r"^lung: a version must hold the alias champion, got none"
    ):
        published(registered)


def test_a_version_registered_by_hand_is_published_as_its_contract_says(registered):
    registered.client.create_model_version("liver", registered.version(2).source)
    registered.client.set_registered_model_alias("liver", "champion", "3")
    folder = published(registered)
    assert sha256_of(folder / "1" / ONNX_FILE) == sha256_of(registered.root / "second.onnx")


def test_a_changed_promise_is_not_published(registered):
    """Weights alone are not the model: another threshold gives other masks."""
    file = artifact(registered, 1, CONTRACT_FILE)
    file.write_text(file.read_text().replace('"threshold": 0.5', '"threshold": 0.4'))
    with pytest.raises(ModelError, match=r"contract\.json must have the registered sha256"):
        published(registered)
