"""What the front doors know of a version of the network next door."""

import re
from dataclasses import dataclass
from pathlib import Path

from dyntransnet.contract import Contract
from dyntransnet.errors import ModelError
from dyntransnet.imaging.fingerprint import Fingerprint, read_fingerprint
from dyntransnet.repository import CONFIG_FILE, NETWORK, PRECISION, RUNTIME
from dyntransnet.runtimes.plan_file import PlanRecord
from dyntransnet.service.versions import read_receipt


@dataclass(frozen=True)
class Network:
    """A version of the network.

    Attributes:
        version: its folder.
        contract: how to feed it.
        fingerprint: of what it learned from, if that is known.
        runtime: what it runs in.
        precision: what that computes in.
    """

    version: int
    contract: Contract
    fingerprint: Fingerprint | None
    runtime: str
    precision: str


def read_config(network: Path) -> str:
    """The network's config.pbtxt.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return (network / CONFIG_FILE).read_text()
    except OSError as error:
        raise ModelError(
            f"{network / CONFIG_FILE}: must be readable, got {error.strerror}"
        ) from error


def runs_with(config: str) -> tuple[str, str | None]:
    """What a network's config.pbtxt, as ``publish`` writes it, has it run with.

    Args:
        config: the file's text.

    Returns:
        The runtime, and what it computes in; None where the plan says that, not the file.

    Raises:
        ModelError: the file says neither.
    """
    backend = re.search(r'^backend: "(\w+)"$', config, re.MULTILINE)
    given = dict(re.findall(r'^parameters { key: "(\w+)" .*"(.*)" } }$', config, re.MULTILINE))
    if backend is None or (backend[1] == "python" and not {RUNTIME, PRECISION} <= given.keys()):
        raise ModelError(f"{NETWORK}/{CONFIG_FILE}: must name backend, runtime and precision")
    if backend[1] == "python":
        return given[RUNTIME], given[PRECISION]
    return backend[1], "fp32" if backend[1] == "onnxruntime" else None


def read_network(folder: Path, config: str) -> Network:
    """Read a version folder.

    Args:
        folder: as ``publish`` wrote it.
        config: text of the config.pbtxt that it is loaded with.

    Raises:
        EngineError: it holds a plan without its record.
        ModelError: a file is missing or damaged.
    """
    read_receipt(folder)
    runtime, precision = runs_with(config)
    return Network(
        int(folder.name),
        Contract.load(folder),
        read_fingerprint(folder),
        runtime,
        precision or PlanRecord.load(folder).precision,
    )
