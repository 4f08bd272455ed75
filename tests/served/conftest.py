"""The threshold network, published in a copy of the model repository and served."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from threshold_network import contract_of, threshold_network

from dyntransnet import repository as names
from dyntransnet.contract import Contract
from dyntransnet.imaging.tiling import Predict
from dyntransnet.runtimes import choice
from dyntransnet.server import TritonServer
from models import copy_repository


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_repository(tmp_path_factory.mktemp("served") / "model_repository")
    folder = root / names.NETWORK / names.VERSION
    onnx.save(threshold_network(), folder / "model.onnx")
    contract = contract_of(folder / "model.onnx")
    contract.save(folder)
    config = names.network_config(contract, "python", runtime="onnxruntime")
    (root / names.NETWORK / names.CONFIG_FILE).write_text(config)
    return root


@pytest.fixture(scope="session")
def network(repository: Path) -> tuple[Predict, Contract]:
    """What the server runs, in this process."""
    return choice.load(repository / names.NETWORK / names.VERSION, "onnxruntime")


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    if find_spec("pytriton") is None:
        pytest.skip("needs nvidia-pytriton")
    with TritonServer(repository, timeout_s=60.0) as running:
        yield running
