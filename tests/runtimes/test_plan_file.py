"""What a plan is held to before it is loaded."""

import pytest

from builders import contract_of
from dyntransnet.atomic import sha256_of
from dyntransnet.errors import EngineError, ModelError
from dyntransnet.runtimes import toolkits
from dyntransnet.runtimes.plan_file import PLAN_FILE, RECORD_FILE, Gpu, PlanRecord
from models import flip_a_bit

L4 = Gpu(name="NVIDIA L4", compute_capability=89, driver="580.12")
CONTRACT = contract_of()
PLAN = b"a plan of some length"


@pytest.fixture
def engine(tmp_path):
    """A function that writes an engine folder and gives it with its record."""

    def write(**changes):
        (tmp_path / PLAN_FILE).write_bytes(PLAN)
        values = {
            "target": "tensorrt",
            "toolkit_version": "10.16.1.11",
            "gpu": L4,
            "compute_capabilities": (89,),
            "precision": "fp16",
            "batch": 8,
            "version_compatible": False,
            "stripped": False,
            "onnx_sha256": CONTRACT.model_sha256,
            "graph_sha256": "2" * 64,
            "plan_sha256": sha256_of(tmp_path / PLAN_FILE),
        }
        PlanRecord(**values | changes).save(tmp_path)
        return PlanRecord.load(tmp_path)

    return write


def test_a_plan_for_this_model_gpu_and_version_is_accepted(engine, tmp_path):
    record = engine()
    record.check_files(tmp_path, CONTRACT)
    record.check_place(tmp_path / PLAN_FILE, "10.16.1.11", L4)


@pytest.mark.parametrize(
    ("here", "shown"),
    [
        ({"name": "NVIDIA A10", "compute_capability": 86}, r"NVIDIA A10 \(86\)"),
        ({"name": "NVIDIA L40S"}, r"NVIDIA L40S \(89\)"),
    ],
)
def test_a_plan_for_another_gpu_is_refused(engine, tmp_path, here, shown):
    gpu = L4.model_copy(update=here)
    rule = rf"model\.plan: must be run on the GPU it was built for, NVIDIA L4 \(89\), got {shown};"
    with pytest.raises(EngineError, match=rule):
        engine().check_place(tmp_path / PLAN_FILE, "10.16.1.11", gpu)


def test_a_plan_of_rtx_runs_on_any_gpu_of_its_kind(engine, tmp_path):
    record = engine(target="tensorrt-rtx", gpu=None, compute_capabilities=(86, 89))
    record.check_place(tmp_path, "10.16.1.11", L4.model_copy(update={"name": "RTX 4070"}))
    with pytest.raises(EngineError, match=r"it was built for, 86, 89, got NVIDIA L4 \(120\);"):
        record.check_place(
            tmp_path, "10.16.1.11", L4.model_copy(update={"compute_capability": 120})
        )


@pytest.mark.parametrize("found", ["10.16.1.12", "10.17.0.1", "11.4.0.106"])
def test_a_plan_of_another_version_is_refused(engine, tmp_path, found):
    rule = rf"must be run by tensorrt 10\.16\.1\.11, which built it, got {found}; build it anew"
    with pytest.raises(EngineError, match=rule):
        engine().check_place(tmp_path / PLAN_FILE, found, L4)


@pytest.mark.parametrize(
    ("found", "runs"),
    [("10.16.1.11", True), ("10.20.0.1", True), ("10.9.0.1", False), ("11.4.0.106", False)],
)
def test_a_version_compatible_plan_runs_from_its_version_to_the_next_major(
    engine, tmp_path, found, runs
):
    record = engine(version_compatible=True)
    if runs:
        record.check_place(tmp_path / PLAN_FILE, found, L4)
        return
    with pytest.raises(EngineError, match=rf"which built it, got {found}"):
        record.check_place(tmp_path / PLAN_FILE, found, L4)


def test_a_plan_of_another_model_is_refused(engine, tmp_path):
    rule = r"model\.plan: must be built from the model of sha256 1{64}, got a plan of 3{64}$"
    with pytest.raises(EngineError, match=rule):
        engine(onnx_sha256="3" * 64).check_files(tmp_path, CONTRACT)


@pytest.mark.parametrize("harm", ["truncated", "changed", "removed"])
def test_a_damaged_plan_is_refused(engine, tmp_path, harm):
    record, path = engine(), tmp_path / PLAN_FILE
    if harm == "truncated":
        path.write_bytes(PLAN[:-5])
    elif harm == "changed":
        flip_a_bit(path)
    else:
        path.unlink()
    found = "no file" if harm == "removed" else r"\w{64}"
    with pytest.raises(ModelError, match=rf"model\.plan: sha256 must be \w{{64}}, got {found}$"):
        record.check_files(tmp_path, CONTRACT)


def test_a_folder_without_a_plan_says_how_to_make_one(tmp_path):
    rule = r"must hold model\.plan and plan\.json \(dyntransnet build-engine makes them\), got No"
    with pytest.raises(EngineError, match=rule):
        PlanRecord.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('"fp16"', '"fp12"', r"plan\.json: precision is not valid"),
        ('"batch": 8', '"batch": 0', r"plan\.json: batch is not valid"),
        ("{", "", r"plan\.json: the file is not valid"),
        ('"tensorrt"', '"tensorrt-rtx"', r"plan\.json: the file is not valid, .*gpu must be given"),
    ],
)
def test_a_record_that_breaks_a_rule_is_named(engine, tmp_path, old, new, rule):
    engine()
    path = tmp_path / RECORD_FILE
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(EngineError, match=rule):
        PlanRecord.load(tmp_path)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("echo 'NVIDIA L4, 8.9, 580.12'", L4),
        ("printf 'NVIDIA B200, 10.0, 590.1\\nNVIDIA L4, 8.9, 580.12\\n'",
         Gpu(name="NVIDIA B200", compute_capability=100, driver="590.1")),
        ("exit 9", None),
        ("true", None),
        ("echo 'No devices were found'", None),
    ],
)  # fmt: skip
def test_the_gpu_is_what_nvidia_smi_shows_first(tmp_path, monkeypatch, answer, found):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert toolkits.find_gpu() == found


@pytest.mark.parametrize(("visible", "asked"), [("2,0", "--id=2"), ("GPU-7f", "--id=GPU-7f")])
def test_the_gpu_is_the_first_that_cuda_may_see(tmp_path, monkeypatch, visible, asked):
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\ncase "$*" in *{asked}) echo "NVIDIA L4, 8.9, 580.12";; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert toolkits.find_gpu() == L4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert toolkits.find_gpu() is None
