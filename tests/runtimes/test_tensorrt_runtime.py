"""A plan is loaded only where it can run; that it computes is tested with build-engine."""

import json
import sys

import pytest
import torch

from dyntransnet.errors import EngineError, ModelError
from dyntransnet.runtimes import tensorrt_runtime
from dyntransnet.runtimes.choice import load
from models import save_model, threshold_model


def test_a_model_folder_without_a_plan_is_refused(tmp_path):
    save_model(tmp_path, threshold_model(0.2, 0.7))
    with pytest.raises(EngineError, match=r"must hold model\.plan and plan\.json .*build-engine"):
        load(tmp_path, "tensorrt")


def test_the_model_is_checked_before_the_plan(tmp_path):
    save_model(tmp_path, threshold_model(0.2, 0.7), model_sha256="4" * 64)
    with pytest.raises(ModelError, match=r"model\.onnx: sha256 must be 4{64}, got \w{64}$"):
        load(tmp_path, "tensorrt")


def test_a_torch_without_cuda_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"^tensorrt must have a torch that sees a GPU, got one"):
        tensorrt_runtime.cuda()


def test_a_machine_without_torch_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineError, match=r"^tensorrt must have torch for memory on the GPU, got"):
        tensorrt_runtime.cuda()


def test_nothing_of_a_plan_is_read_from_another_place(tmp_path):
    """A record alone is no plan."""
    contract = save_model(tmp_path, threshold_model(0.2, 0.7))
    record = {
        "target": "tensorrt-rtx",
        "toolkit_version": "1.7.1.116",
        "gpu": None,
        "compute_capabilities": [89],
        "precision": "fp32",
        "batch": 8,
        "version_compatible": False,
        "stripped": False,
        "onnx_sha256": contract.model_sha256,
        "graph_sha256": contract.model_sha256,
        "plan_sha256": "5" * 64,
    }
    (tmp_path / "plan.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match=r"model\.plan: sha256 must be 5{64}, got no file$"):
        load(tmp_path, "tensorrt")
