"""Another version of the network for a server that runs, without a request that fails.

A new version is put beside the one that has the traffic, loaded, and asked for the golden scan's
mask. Only then does it get the traffic. The version before stays loaded: for scans that began
with it, and to go back to.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from dyntransnet.atomic import new_file
from dyntransnet.config import PublishParams
from dyntransnet.contract import Contract
from dyntransnet.errors import DynTransNetError, ModelError, QualityGateError
from dyntransnet.repository import CONFIG_FILE, NETWORK, VERSION, network_config
from dyntransnet.rollout.control import Controller
from dyntransnet.runtimes.golden import Golden, agreement
from dyntransnet.runtimes.plan_serving import place_plan
from dyntransnet.service.versions import Traffic, next_version, read_receipt, read_traffic
from dyntransnet.stages.publish import write_version

MODEL_FILE = "model.py"


@dataclass(frozen=True)
class Candidate:
    """A model that shall have the traffic.

    Attributes:
        folder: its files.
        origin: the registry's model and version.
        golden: what it must answer.
        min_dice: how nearly.
        plan: for the backend ``tensorrt``.
    """

    folder: Path
    origin: Mapping[str, str]
    golden: Golden
    min_dice: float
    plan: Path | None = None


def put(
    candidate: Candidate, repository: Path, server: Controller, params: PublishParams
) -> Traffic:
    """Give a model the traffic.

    Args:
        candidate: the model.
        repository: what the server serves.
        server: which runs on it, with model control.
        params: how Triton runs the network.

    Returns:
        Who has the traffic now.

    Raises:
        ModelError: the model needs another configuration than the one that is loaded.
        QualityGateError: it answers the golden scan otherwise than it should.
        ServingError: the server cannot load it, or does not answer.
    """
    network = repository / NETWORK
    with _alone(network):
        traffic = read_traffic(network)
        _check_fits(candidate, network, traffic, params)
        number = next_version(network)
        _place(candidate, network, number)
        replace(traffic, last=number).save(network)
        try:
            _configure(candidate, network, [*traffic.kept, number], params)
            server.load(NETWORK)
            check_golden(candidate, server, number)
        except DynTransNetError:
            _configure(candidate, network, traffic.kept, params)
            server.load(NETWORK)
            shutil.rmtree(network / str(number))
            raise
        now = Traffic(version=number, before=traffic.version, last=number)
        now.save(network)
        _retire(candidate, network, traffic, now, params, server)
    return now


def back(repository: Path, server: Controller) -> Traffic:
    """Give the traffic to the version that had it before; it is still loaded.

    Returns:
        Who has the traffic now; a second call undoes the first.

    Raises:
        ModelError: there is none before.
        ServingError: it is not loaded.
    """
    network = repository / NETWORK
    with _alone(network):
        traffic = read_traffic(network)
        if traffic.before is None:
            raise ModelError(
                f"{network}: a version must have had the traffic before, got version "
                f"{traffic.version} alone"
            )
        if not server.is_ready(NETWORK, traffic.before):
            raise ModelError(f"version {traffic.before} must be loaded, got not ready")
        now = replace(traffic, version=traffic.before, before=traffic.version)
        now.save(network)
    return now


def check_golden(candidate: Candidate, server: Controller, version: int) -> None:
    """Make sure that a version answers as the registry's own run did.

    Raises:
        QualityGateError: it does not.
    """
    expected = candidate.golden.mask.labels
    labels, report = server.ask(candidate.golden.scan, version)
    wanted = Contract.load(candidate.folder).model_sha256
    if report["model_sha256"] != wanted:
        raise QualityGateError(
            f"version {version}: model must be {wanted}, got {report['model_sha256']}"
        )
    for name, dice in agreement(expected, labels).items():
        if dice < candidate.min_dice:
            raise QualityGateError(
                f"version {version}: golden scan's {name} Dice must be at least "
                f"{candidate.min_dice:g}, got {dice:.4f}; the traffic stays where it was"
            )


@contextmanager
def _alone(network: Path) -> Iterator[None]:
    """Nobody else changes the repository."""
    with FileLock(network / ".publish.lock"):
        yield


def _check_fits(
    candidate: Candidate, network: Path, traffic: Traffic, params: PublishParams
) -> None:
    """Versions of one model share a configuration: windows, backend, runtime, precision."""
    path = network / CONFIG_FILE
    if not path.is_file():
        raise ModelError(f"{path}: must be there (dvc repro publish), got none")
    if path.read_text() != _config(candidate, traffic.kept, params):
        raise ModelError(
            f"{path}: must be the new model's too (window, backend, runtime, precision), got "
            "another: stop the server, dvc repro publish, start it again"
        )


def _config(candidate: Candidate, versions: list[int], params: PublishParams) -> str:
    contract = Contract.load(candidate.folder)
    how = {"runtime": params.runtime, "precision": params.precision}
    return network_config(contract, params.backend, versions=versions, **how)


def _configure(
    candidate: Candidate, network: Path, versions: list[int], params: PublishParams
) -> None:
    with new_file(network / CONFIG_FILE) as path:
        path.write_text(_config(candidate, versions, params))


def _place(candidate: Candidate, network: Path, number: int) -> None:
    folder = network / str(number)
    folder.mkdir()
    shutil.copyfile(network / VERSION / MODEL_FILE, folder / MODEL_FILE)
    place_plan(candidate.plan, folder)
    write_version(candidate.folder, folder, candidate.origin)
    read_receipt(folder)


def _retire(
    candidate: Candidate,
    network: Path,
    traffic: Traffic,
    now: Traffic,
    params: PublishParams,
    server: Controller,
) -> None:
    """Unload what neither has the traffic nor had it before."""
    if traffic.kept == [traffic.version]:
        return
    _configure(candidate, network, now.kept, params)
    server.load(NETWORK)
    for number in set(traffic.kept) - {*now.kept, int(VERSION)}:
        shutil.rmtree(network / str(number), ignore_errors=True)
