import sys

import numpy as np
import pytest

from dyntransnet.contract import CONTRACT_FILE, ONNX_FILE
from dyntransnet.errors import ModelError
from dyntransnet.runtimes.choice import RUNTIMES, load
from models import flip_a_bit, save_model, threshold_model

PATCH = (4, 6, 5)
IMAGE = np.random.default_rng(0).uniform(-1, 1, (3, 1, *PATCH)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    model = threshold_model(0.25, 0.5, patch_size=PATCH)
    save_model(tmp_path / "model", model, patch_size=PATCH)
    return tmp_path / "model"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_runtime_gives_the_logits_of_the_network(folder, runtime, batch):
    predict, contract = load(folder, runtime)
    expected = np.concatenate([IMAGE - 0.25, IMAGE - 0.5], axis=1)[:batch]
    found = predict(IMAGE[:batch])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert contract.patch_size == PATCH


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_answer_outlives_the_next_call(folder, runtime):
    predict, _ = load(folder, runtime)
    first = predict(IMAGE)
    before = first.copy()
    predict(-IMAGE)
    np.testing.assert_array_equal(first, before)


def test_tensors_are_named_by_the_contract(folder):
    model = threshold_model(0.25, 0.5, patch_size=PATCH)
    model.graph.input[0].name = model.graph.node[0].input[0] = "ct"
    model.graph.output[0].name = model.graph.node[0].output[0] = "scores"
    save_model(folder, model, patch_size=PATCH, input_name="ct", output_name="scores")
    for runtime in RUNTIMES:
        assert load(folder, runtime)[0](IMAGE).shape == (3, 2, *PATCH)


@pytest.mark.parametrize("file", [CONTRACT_FILE, ONNX_FILE])
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(ModelError, match=rf"model: must hold {file}, got [^\n]+$"):
        load(folder, "onnxruntime")


def test_a_model_the_contract_was_not_signed_for_is_refused(folder):
    flip_a_bit(folder / ONNX_FILE)
    with pytest.raises(ModelError, match=r"model\.onnx: sha256 must be [0-9a-f]{64}, got [0-9a-f]"):
        load(folder, "onnxruntime")


def test_an_unknown_runtime_is_refused_with_those_known(folder):
    with pytest.raises(ModelError, match=r"one of onnxruntime, openvino, got tensorflow$"):
        load(folder, "tensorflow")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_that_is_not_installed_says_what_to_install(folder, runtime, monkeypatch):
    monkeypatch.delitem(sys.modules, RUNTIMES[runtime], raising=False)
    monkeypatch.setitem(sys.modules, runtime, None)
    rule = rf"runtime {runtime} must be installed \(pip install 'dyntransnet\[runtime\]'\), got .+"
    with pytest.raises(ModelError, match=rule) as caught:
        load(folder, runtime)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_the_runtime_cannot_read_is_named(folder, runtime):
    model = threshold_model(0.25, 0.5, patch_size=PATCH)
    model.graph.node[0].op_type = "NoSuchOperator"
    save_model(folder, model)
    with pytest.raises(
        ModelError, match=rf"model\.onnx: must be readable by {runtime}, got "
    ) as caught:
        load(folder, runtime)
    assert "\n" not in str(caught.value)
