"""From the registry to a running server, and back: what the commands do."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from dyntransnet.config import PublishParams
from dyntransnet.contract import Contract
from dyntransnet.errors import ModelError
from dyntransnet.repository import NETWORK
from dyntransnet.rollout import swap
from dyntransnet.rollout.control import Address, Controller
from dyntransnet.rollout.swap import Candidate
from dyntransnet.runtimes import openvino_files
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.golden import RUNTIME, make_golden, read_golden
from dyntransnet.runtimes.plan_serving import plan_for
from dyntransnet.service.versions import Traffic, read_receipt, read_traffic
from dyntransnet.stages.publish import check_registered, origin_of
from dyntransnet.tracking import alias_version, connect, download

SERVED_ON, SERVED_VERSION = "served_on", "served_version"
"""Tags of a registered version: the server that it answers on, and its folder there."""


def publish(
    model: str,
    alias: str,
    *,
    repository: Path,
    address: Address,
    params: PublishParams,
    min_dice: float,
    engine: Path | None = None,
) -> None:
    """Give the version that holds an alias the traffic of a running server.

    Args:
        model: its registered name.
        alias: of the version.
        repository: what the server serves.
        address: of the server.
        params: how Triton runs the network.
        min_dice: how nearly it must answer the golden scan as the registry's own run did.
        engine: for the backend ``tensorrt``, what ``build-engine`` wrote.

    Raises:
        DynTransNetError: it cannot be loaded, or answers otherwise than it should; the
            traffic stays where it was.
    """
    client = connect()
    version = alias_version(client, model, alias)
    if version is None:
        raise ModelError(f"{model}: a version must hold the alias {alias}, got none")
    publish_version(
        client,
        version,
        repository=repository,
        address=address,
        params=params,
        min_dice=min_dice,
        engine=engine,
    )


def publish_version(
    client: MlflowClient,
    version: ModelVersion,
    *,
    repository: Path,
    address: Address,
    params: PublishParams,
    min_dice: float,
    engine: Path | None = None,
) -> Traffic:
    """The same for a version that is known; arguments and errors as of ``publish``."""
    with (
        _candidate(client, version, params, min_dice, engine) as candidate,
        Controller(address) as server,
    ):
        now = swap.put(candidate, repository, server, params)
    _tell(client, repository, address, now)
    print(f"publish: {version.name} version {version.version} has the traffic of {address.url}")
    return now


def rollback(repository: Path, address: Address) -> Traffic:
    """Give the traffic back to the version that had it before.

    Raises:
        DynTransNetError: there is none, or the server cannot be reached.
    """
    with Controller(address) as server:
        now = swap.back(repository, server)
    _tell(connect(), repository, address, now)
    named = read_receipt(repository / NETWORK / str(now.version))
    known = (
        f"{named['model']} version {named['version']}"
        if "model" in named
        else f"folder {now.version}"
    )
    print(f"rollback: {known} has the traffic of {address.url}")
    return now


@contextmanager
def _candidate(
    client: MlflowClient,
    version: ModelVersion,
    params: PublishParams,
    min_dice: float,
    engine: Path | None,
) -> Iterator[Candidate]:
    """A registered version's files, held against what was registered."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = download(client, version, Path(scratch))
        check_registered(folder, version)
        contract = Contract.load(folder)
        openvino_files.find(folder, contract, params.precision)
        golden = read_golden(folder)
        if golden is None:  # registered before there was one
            golden = make_golden(*load(folder, RUNTIME))
        plan = plan_for(params.backend, engine, contract)
        yield Candidate(folder, origin_of(version), golden, min_dice, plan)


def _tell(client: MlflowClient, repository: Path, address: Address, now: Traffic) -> None:
    """Let the registry say what answers where."""
    untell(client, repository, address.url)
    named = read_receipt(repository / NETWORK / str(now.version))
    if "model" in named:
        for key, value in ((SERVED_ON, address.url), (SERVED_VERSION, str(now.version))):
            client.set_model_version_tag(named["model"], named["version"], key, value)


def untell(client: MlflowClient, repository: Path, url: str) -> None:
    """Let no version of the registry say that it answers on a server."""
    network = repository / NETWORK
    for number in read_traffic(network).kept:
        named = read_receipt(network / str(number))
        if "model" not in named:  # put there by hand
            continue
        tags = client.get_model_version(named["model"], named["version"]).tags
        if tags.get(SERVED_ON) == url:
            for key in (SERVED_ON, SERVED_VERSION):
                client.delete_model_version_tag(named["model"], named["version"], key)
