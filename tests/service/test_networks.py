"""What is read of a version folder, and of the configuration it is loaded with."""

import pytest

from builders import contract_of
from dyntransnet import repository as names
from dyntransnet.errors import EngineError, ModelError
from dyntransnet.runtimes.plan_file import Gpu, PlanRecord
from dyntransnet.service.networks import read_config, read_network


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "3").mkdir()
    contract_of().save(tmp_path / "3")
    return tmp_path / "3"


def config_of(backend: str) -> str:
    return names.network_config(contract_of(), backend, runtime="openvino", precision="int8")


def test_in_the_python_backend_the_configuration_says_what_runs_the_network(folder):
    found = read_network(folder, config_of("python"))
    assert (found.version, found.runtime, found.precision) == (3, "openvino", "int8")
    assert found.contract == contract_of()


def test_of_a_plan_its_record_says_what_it_computes_in(folder):
    PlanRecord(
        target="tensorrt",
        toolkit_version="10.9",
        gpu=Gpu(name="NVIDIA L4", compute_capability=89, driver="570"),
        compute_capabilities=(89,),
        precision="bf16",
        batch=8,
        version_compatible=False,
        stripped=False,
        onnx_sha256="0" * 64,
        graph_sha256="0" * 64,
        plan_sha256="0" * 64,
    ).save(folder)
    found = read_network(folder, config_of("tensorrt"))
    assert (found.runtime, found.precision) == ("tensorrt", "bf16")


def test_a_plan_without_its_record_is_refused(folder):
    with pytest.raises(EngineError, match=r"3: must hold model\.plan and plan\.json"):
        read_network(folder, config_of("tensorrt"))


def test_a_missing_configuration_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"config\.pbtxt: must be readable, got No such file"):
        read_config(tmp_path)
