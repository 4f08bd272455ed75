"""``mlflow deployments -t triton:/HOST:PORT``: the registry's models on a Triton that runs.

A server has one deployment, ``dyntransnet``: the version that has its traffic. Options go into
the target, as in ``triton:/HOST:PORT?repository=/models&control_key_file=key``, or into
``-C key=value`` where MLflow has it: ``repository`` (the server's, on a disk that both see),
``control_key_file``, ``tls_ca``, ``tls_cert``, ``tls_key``, ``params`` (params.yaml), ``min_dice``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlparse

import numpy as np
from mlflow import MlflowClient
from mlflow.deployments import BaseDeploymentClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from dyntransnet.config import PARAMS_FILE, Params
from dyntransnet.errors import DynTransNetError, InputError, ModelError
from dyntransnet.imaging.scan import Scan, read_scan
from dyntransnet.repository import NETWORK
from dyntransnet.rollout import live
from dyntransnet.rollout.control import Address, Controller
from dyntransnet.server.access import read_control_key
from dyntransnet.service.versions import read_receipt, read_traffic
from dyntransnet.tracking import alias_version, connect

NAME = "dyntransnet"
DEFAULT_URL = "127.0.0.1:8001"
REPOSITORY = "model_repository"
TLS = ("ca", "cert", "key")

Config = Mapping[str, str]


def target_help() -> str:
    """What ``mlflow deployments help -t triton`` shows."""
    return str(__doc__)


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Any = None) -> None:
    """Not offered: ``dyntransnet serve`` starts a server."""
    raise MlflowException("triton: must be a server that runs (dyntransnet serve), got run-local")


class TritonDeploymentClient(BaseDeploymentClient):
    """What MLflow calls.

    Args:
        target_uri: ``triton`` or ``triton:/HOST:PORT?key=value``.
    """

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)  # type: ignore[no-untyped-call]
        target = urlparse(target_uri)
        self.url = target.path.removeprefix("triton").strip("/") or DEFAULT_URL
        self.options = dict(parse_qsl(target.query))

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Config | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Give a registered version the traffic, once it has answered the golden scan.

        Args:
            name: ``dyntransnet``.
            model_uri: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
            flavor: ignored.
            config: options, as the module says.
            endpoint: ignored.

        Raises:
            MlflowException: it cannot be loaded, or answers otherwise than it should.
        """
        return self.update_deployment(name, model_uri, config=config)

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Config | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """The same: the version that had the traffic goes on with what it has begun."""
        options = self.options | dict(config or {})
        with _told(name):
            params = Params.load(Path(options.get("params", PARAMS_FILE)))
            client = connect()
            limit = params.export.limits[params.publish.precision].min_dice
            live.publish_version(
                client,
                _version_of(client, model_uri),
                repository=_repository(options),
                address=self._address(options),
                params=params.publish,
                min_dice=float(options.get("min_dice", limit)),
            )
        return {**self._state(options), "flavor": "onnx"}

    def delete_deployment(
        self, name: str, config: Config | None = None, endpoint: str | None = None
    ) -> None:
        """Stop serving: the network is unloaded, once what it has begun is answered."""
        options = self.options | dict(config or {})
        with _told(name), Controller(self._address(options)) as server:
            server.unload(NETWORK)
            live.untell(connect(), _repository(options), self.url)

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """The one there is, if the server answers."""
        return [self.get_deployment(NAME)]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """Which registered version has the traffic, and whether it is ready."""
        with _told(name):
            return self._state(self.options)

    def _state(self, options: Config) -> dict[str, Any]:
        network = _repository(options) / NETWORK
        traffic = read_traffic(network)
        receipt = read_receipt(network / str(traffic.version))
        with Controller(self._address(options)) as server:
            is_ready = server.is_ready(NETWORK, traffic.version)
        return {
            "name": NAME,
            "url": self.url,
            "ready": is_ready,
            "folder": traffic.version,
            "model": receipt.get("model"),
            "version": receipt.get("version"),
        }

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> dict[str, Any]:
        """Mask and report of a scan.

        Args:
            deployment_name: ``dyntransnet``.
            inputs: a scan file's path; ``{"scan": path}`` or a table with one such column, as
                the command line reads it from JSON; or ``{"voxels": ..., "affine": ...}``.
            endpoint: ignored.

        Returns:
            ``mask`` as an array of labels, and ``report``.
        """
        address = self._address(self.options)
        with _told(deployment_name or NAME), Controller(address) as server:
            mask, report = server.ask(_scan_of(inputs))
        return {"mask": mask, "report": report}

    def _address(self, options: Config) -> Address:
        files = {name: Path(options[f"tls_{name}"]) for name in TLS if f"tls_{name}" in options}
        key_file = options.get("control_key_file")
        return Address(self.url, read_control_key(Path(key_file) if key_file else None), **files)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Errors of this package as MLflow's; another deployment's name is one of them."""
    if name != NAME:
        raise MlflowException(f"triton: deployment must be {NAME}, got {name}")
    try:
        yield
    except DynTransNetError as error:
        raise MlflowException(str(error)) from error


def _repository(options: Config) -> Path:
    path = Path(options.get("repository", REPOSITORY))
    if not (path / NETWORK).is_dir():
        raise InputError(f"{path}: must be the server's model repository, got no {NETWORK}")
    return path


def _version_of(client: MlflowClient, uri: str | None) -> ModelVersion:
    """A registered version, by alias or number."""
    named = (uri or "").removeprefix("models:/")
    name, _, alias = named.partition("@")
    if alias:
        if (found := alias_version(client, name, alias)) is None:
            raise ModelError(f"{name}: a version must hold the alias {alias}, got none")
        return found
    name, _, number = named.partition("/")
    if not (name and number.isdigit()):
        raise ModelError(f"model must be models:/NAME@ALIAS or models:/NAME/VERSION, got {uri}")
    return client.get_model_version(name, number)


def _scan_of(inputs: Any) -> Scan:
    """A scan from what Python or the command line gives."""
    if hasattr(inputs, "to_dict"):  # a table
        inputs = inputs.to_dict("records")[0]
    if isinstance(inputs, Mapping) and "voxels" in inputs:
        affine = np.asarray(inputs["affine"], np.float64)
        return Scan("scan", np.asarray(inputs["voxels"], np.int16), affine)
    path = inputs["scan"] if isinstance(inputs, Mapping) else inputs
    return read_scan(Path(str(path)))
