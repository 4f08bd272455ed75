"""What the front doors know of a version of the network next door."""

from dataclasses import dataclass
from pathlib import Path

from dyntransnet.contract import Contract
from dyntransnet.errors import ModelError
from dyntransnet.imaging.fingerprint import Fingerprint, read_fingerprint
from dyntransnet.repository import CONFIG_FILE, runs_with
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
