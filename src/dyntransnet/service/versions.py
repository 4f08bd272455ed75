"""Version folders of the network: what lies in each, and which has the traffic.

A folder is never written again once a server may have read it, and no number is used twice:
whoever has read a folder may keep what it read. ``traffic.json`` is the one switch.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dyntransnet.atomic import new_file, sha256_of
from dyntransnet.errors import ModelError
from dyntransnet.repository import VERSION

TRAFFIC_FILE = "traffic.json"
RECEIPT_FILE = "published.json"
"""In a version folder: the registry's name for it, and the sha256 of every file."""


@dataclass(frozen=True)
class Traffic:
    """Which version folders answer.

    Attributes:
        version: answers whoever does not ask for another.
        before: had the traffic before; still loaded, so that it can have it back.
        last: the highest number that was ever used.
    """

    version: int = int(VERSION)
    before: int | None = None
    last: int = int(VERSION)

    @property
    def kept(self) -> list[int]:
        """Versions that must stay loaded, in order."""
        return sorted({self.version} if self.before is None else {self.version, self.before})

    def save(self, network: Path) -> None:
        """Switch; whoever reads at that moment sees either the old or the new."""
        with new_file(network / TRAFFIC_FILE) as path:
            path.write_text(json.dumps(asdict(self)) + "\n")


def read_traffic(network: Path, known: Traffic | None = None) -> Traffic:
    """Who has the traffic.

    Args:
        network: the network's folder in the model repository.
        known: what it was before; without it, and without the file, the first version has it.

    Raises:
        ModelError: the file is damaged.
    """
    path = network / TRAFFIC_FILE
    try:
        return Traffic(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return known or Traffic()
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: must name versions, got {error}") from error


def next_version(network: Path) -> int:
    """A number that no version had before."""
    numbers = [int(path.name) for path in network.iterdir() if path.name.isdigit()]
    return max(read_traffic(network).last, *numbers) + 1


def write_receipt(folder: Path, origin: Mapping[str, Any]) -> None:
    """Say what a version folder holds, last of all.

    Args:
        folder: with every file in its place.
        origin: where they came from: the registry's model and version.
    """
    files = {name: sha256_of(folder / name) for name in _names_in(folder)}
    with new_file(folder / RECEIPT_FILE) as path:
        path.write_text(json.dumps({**origin, "files": files}, indent=1) + "\n")


def read_receipt(folder: Path) -> dict[str, Any]:
    """What a version folder says of itself, its files held against it; empty if it says nothing.

    Raises:
        ModelError: the receipt is damaged, or a file is missing, added or changed.
    """
    path = folder / RECEIPT_FILE
    if not path.is_file():
        return {}
    try:
        receipt = json.loads(path.read_bytes())
        promised: dict[str, str] = dict(receipt["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: must list files, got {error!r}") from error
    for name, sha256 in promised.items():
        found = sha256_of(folder / name) if (folder / name).is_file() else "no file"
        if found != sha256:
            raise ModelError(f"{folder / name}: sha256 must be {sha256}, got {found}")
    if extra := set(_names_in(folder)) - set(promised):
        raise ModelError(f"{folder}: must hold what was published, got {min(extra)} beside it")
    return dict(receipt)


def _names_in(folder: Path) -> list[str]:
    """Files that are published; Triton's model.py is this project's, and in git."""
    own = {RECEIPT_FILE, "model.py"}
    paths = [
        Path(root, name).relative_to(folder)
        for root, folders, names in os.walk(folder)
        if "__pycache__" not in Path(root).parts
        for name in names
    ]
    return sorted(str(path) for path in paths if str(path) not in own)
