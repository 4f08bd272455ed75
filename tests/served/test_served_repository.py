"""config.pbtxt as Triton reads it."""

import importlib
from pathlib import Path

import pytest
from google.protobuf import text_format

from dyntransnet import repository as names
from dyntransnet.contract import ONNX_FILE
from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.service.networks import runs_with

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
    ("backend", "file", "kind"),
    [
        ("python", "", "KIND_CPU"),
        ("onnxruntime", ONNX_FILE, "KIND_AUTO"),
        ("tensorrt", "model.plan", "KIND_GPU"),
    ],
)
def test_each_backend_gets_its_own_lines(network, backend, file, kind):
    config = parse(names.network_config(network[1], backend, runtime="onnxruntime"))
    group = config.instance_group[0]
    assert config.default_model_filename == file
    assert (messages.ModelInstanceGroup.Kind.Name(group.kind), group.count) == (kind, 1)
    runtime = config.parameters[names.RUNTIME].string_value if config.parameters else None
    assert runtime == ("onnxruntime" if backend == "python" else None)


@pytest.mark.parametrize("backend", names.PLACES)
def test_callers_share_calls_wait_in_a_bounded_queue_and_find_a_warm_network(network, backend):
    config = parse(names.network_config(network[1], backend, runtime="openvino", versions=[3, 12]))
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert config.dynamic_batching.default_queue_policy.max_queue_size == names.MAX_QUEUE_SIZE
    together = 4 if backend == "python" else 8
    assert list(config.dynamic_batching.preferred_batch_size) == [together]
    assert [call.batch_size for call in config.model_warmup] == sorted({1, 4, together})
    for call in config.model_warmup:
        assert list(call.inputs[network[1].input_name].dims) == list(config.input[0].dims)
    assert list(config.version_policy.specific.versions) == [3, 12]


@pytest.mark.parametrize(("backend", "together"), [("python", 1), ("tensorrt", 2)])
def test_large_windows_are_answered_in_small_calls(network, backend, together):
    contract = network[1].model_copy(update={"patch_size": (128, 128, 96)})
    config = parse(names.network_config(contract, backend, runtime="openvino"))
    assert list(config.dynamic_batching.preferred_batch_size) == [together]
    assert [call.batch_size for call in config.model_warmup] == sorted({1, together})


def test_the_python_backend_is_told_what_to_compute_in(network):
    text = names.network_config(network[1], "python", runtime="openvino", precision="int8")
    found = {key: value.string_value for key, value in parse(text).parameters.items()}
    assert found == {names.RUNTIME: "openvino", names.PRECISION: "int8"}


@pytest.mark.parametrize(
    ("backend", "how"),
    [
        ("python", ("openvino", "bf16")),
        ("onnxruntime", ("onnxruntime", "fp32")),
        ("tensorrt", ("tensorrt", None)),
    ],
)
def test_what_runs_the_network_is_read_from_its_configuration(network, backend, how):
    text = names.network_config(network[1], backend, runtime="openvino", precision="bf16")
    assert runs_with(text) == how
    assert parse(text).backend == backend


@pytest.mark.parametrize("text", ["", 'backend: "python"\n', 'parameters { key: "runtime" }'])
def test_a_configuration_that_does_not_say_it_is_refused(text):
    rule = r"dyntransnet/config\.pbtxt: must name backend, runtime and precision"
    with pytest.raises(ModelError, match=rule):
        runs_with(text)


def test_unknown_backend_is_refused(network):
    with pytest.raises(ParamsError, match=r"publish\.backend must be one of .*, got caffe"):
        names.network_config(network[1], "caffe", runtime="openvino")


def test_front_door_config_has_the_names_the_client_uses():
    config = parse((MODEL_REPOSITORY / names.FRONT_DOOR / names.CONFIG_FILE).read_text())
    assert config.name == names.FRONT_DOOR
    given = [
        *(names.VOXELS, names.VOXELS_FLOAT, names.AFFINE, names.CASE, names.PRESET),
        *(names.TIMEOUT, names.NETWORK_VERSION),
    ]
    assert [tensor.name for tensor in config.input] == given
    assert [tensor.name for tensor in config.input if not tensor.optional] == [names.AFFINE]
    shown = [names.MASK, names.REPORT, names.PROBABILITIES]
    assert [tensor.name for tensor in config.output] == shown


def test_the_stream_differs_from_the_front_door_by_its_progress_alone():
    door, stream = (
        parse((MODEL_REPOSITORY / name / names.CONFIG_FILE).read_text())
        for name in (names.FRONT_DOOR, names.STREAM)
    )
    assert stream.output[0].name == names.PROGRESS
    assert stream.model_transaction_policy.decoupled
    del stream.output[0]
    stream.ClearField("model_transaction_policy")
    stream.name = door.name
    assert stream == door


@pytest.mark.parametrize("model", [names.NETWORK, names.FRONT_DOOR, names.STREAM])
def test_every_model_has_its_python_file(model):
    assert (MODEL_REPOSITORY / model / names.VERSION / "model.py").is_file()
