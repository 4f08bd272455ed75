"""A server that may be told what to load, by whoever has its key."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from swapping import KEY, plain_repository, small_golden_scan

from dyntransnet.rollout.control import Address
from dyntransnet.server import Access, TritonServer


@pytest.fixture(autouse=True)
def _few_voxels() -> Iterator[None]:
    with small_golden_scan():
        yield


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
