"""A registry with two versions of a model, and a server that may be told what to load."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from dyntransnet import repository as names
from dyntransnet.config import PublishParams
from dyntransnet.rollout.control import Address
from dyntransnet.runtimes import golden
from dyntransnet.server import Access, TritonServer
from dyntransnet.stages.publish import write_network
from models import save_model, threshold_model

MODEL_REPOSITORY = Path(__file__).parents[2] / "model_repository"
KEY = "a-key-of-the-tests"
PARAMS = PublishParams(backend="python", runtime="onnxruntime", precision="fp32")
SMALL = golden.RECIPE.model_copy(update={"spacing_mm": (8.0, 8.0, 10.0), "shape": (49, 42, 24)})


def plain_repository(root: Path, low: float = 0.18) -> Path:
    """As a first publish leaves it."""
    shutil.copytree(MODEL_REPOSITORY, root, ignore=shutil.ignore_patterns("[2-9]*", "*.json"))
    save_model(root.parent / "first", threshold_model(low, 0.72), spacing_mm=(6.0, 6.0, 6.0))
    write_network(root.parent / "first", root / names.NETWORK, PARAMS, {})
    return root


@pytest.fixture(autouse=True)
def _small_golden_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "RECIPE", SMALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    if find_spec("pytriton") is None:
        pytest.skip("needs nvidia-pytriton")
    root = plain_repository(tmp_path_factory.mktemp("rollout") / "model_repository")
    with TritonServer(root, timeout_s=60.0, access=Access(control_key=KEY)) as running:
        yield running


@pytest.fixture
def address(server: TritonServer) -> Address:
    return Address(server.url, control_key=KEY)
