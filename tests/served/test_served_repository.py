"""config.pbtxt as Triton reads it."""

import importlib
from pathlib import Path

import pytest
from google.protobuf import text_format

from dyntransnet import repository as names
from dyntransnet.contract import ONNX_FILE
from dyntransnet.errors import ParamsError

MODEL_REPOSITORY = Path(__file__).parents[2] / "model_repository"

messages = importlib.import_module("tritonclient.grpc.model_config_pb2")


def parse(text):
    return text_format.Parse(text, messages.ModelConfig())


@pytest.mark.parametrize("backend", names.PLACES)
def test_network_config_matches_contract(network, backend):
    _, contract = network
    config = parse(names.network_config(contract, backend, runtime="openvino"))
    assert (config.name, config.backend) == (names.NETWORK, backend)
    assert config.input[0].name == contract.input_name
    assert tuple(config.input[0].dims) == (1, *contract.patch_size)
    assert config.output[0].name == contract.output_name
    assert tuple(config.output[0].dims) == (len(contract.classes), *contract.patch_size)
    assert config.max_batch_size == names.MAX_BATCH_SIZE


@pytest.mark.parametrize(
    ("backend", "file", "kind", "batches"),
    [
        ("python", "", "KIND_CPU", False),
        ("onnxruntime", ONNX_FILE, "KIND_AUTO", True),
        ("tensorrt", "model.plan", "KIND_GPU", True),
    ],
)
def test_each_backend_gets_its_own_lines(network, backend, file, kind, batches):
    config = parse(names.network_config(network[1], backend, runtime="onnxruntime"))
    group = config.instance_group[0]
    assert config.default_model_filename == file
    assert (messages.ModelInstanceGroup.Kind.Name(group.kind), group.count) == (kind, 1)
    assert config.HasField("dynamic_batching") == batches
    runtime = config.parameters[names.RUNTIME].string_value if config.parameters else None
    assert runtime == ("onnxruntime" if backend == "python" else None)


def test_the_python_backend_is_told_what_to_compute_in(network):
    text = names.network_config(network[1], "python", runtime="openvino", precision="int8")
    found = {key: value.string_value for key, value in parse(text).parameters.items()}
    assert found == {names.RUNTIME: "openvino", names.PRECISION: "int8"}


def test_unknown_backend_is_refused(network):
    with pytest.raises(ParamsError, match=r"publish\.backend must be one of .*, got caffe"):
        names.network_config(network[1], "caffe", runtime="openvino")


def test_front_door_config_has_the_names_the_client_uses():
    config = parse((MODEL_REPOSITORY / names.FRONT_DOOR / names.CONFIG_FILE).read_text())
    assert config.name == names.FRONT_DOOR
    given = [names.VOXELS, names.VOXELS_FLOAT, names.AFFINE, names.CASE, names.PRESET]
    assert [tensor.name for tensor in config.input] == given
    assert [tensor.optional for tensor in config.input] == [True, True, False, True, True]
    assert [tensor.name for tensor in config.output] == [names.MASK, names.REPORT]


@pytest.mark.parametrize("model", [names.NETWORK, names.FRONT_DOOR])
def test_every_model_has_its_python_file(model):
    assert (MODEL_REPOSITORY / model / names.VERSION / "model.py").is_file()
