"""A plan for a dataset on disk, told line by line and, on request, put into params.yaml."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dyntransnet import recipes
from dyntransnet.config import PARAMS_FILE, Params, listed
from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import InputError, ParamsError
from dyntransnet.imaging.fingerprint import Fingerprint
from dyntransnet.networks.registry import multiple_of
from dyntransnet.plan.rules import propose, training_bytes

UNITS = {"mb": 1e6, "gb": 1e9, "mib": 2**20, "gib": 2**30}


def run(
    manifest: Path, memory: str, *, network: str | None, write: bool, params: Path = PARAMS_FILE
) -> list[str]:
    """Propose settings for a dataset.

    Args:
        manifest: what ``ingest`` wrote, or the fingerprint that lies beside a model's weights.
        memory: of the device that trains, such as 16GB.
        network: a name of the registry; None is the one of params.yaml, with its options.
        write: whether to change params.yaml.
        params: that file.

    Returns:
        A line for each value, with its reason.

    Raises:
        InputError: the file holds no fingerprint.
        ParamsError: the memory is too small or no amount, or params.yaml breaks a rule.
    """
    budget = bytes_of(memory)
    fingerprint = read_fingerprint(manifest)
    current = Params.load(params)
    spec = current.network
    if network not in (None, spec.name):
        spec = NetworkSpec(name=str(network), options={})
    found = propose(
        fingerprint,
        multiple_of(spec),
        memory_bytes=budget,
        needed=training_bytes(spec, current.train.precision),
    )
    reason = f"{memory} for training in {current.train.precision}"
    choices = [("network.name", spec.name, reason), *found.explained()]
    if write:
        recipes.write(_as_recipe(choices, spec), params=params)
    return [f"{key}: {_inline(value)}  # {reason}" for key, value, reason in choices]


def bytes_of(text: str) -> float:
    """Read an amount of memory such as 16GB or 11.5 GiB.

    Raises:
        ParamsError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mg]i?b)\s*", text.lower())
    if not found or float(found[1]) == 0:
        raise ParamsError(f"--memory must be an amount such as 16GB or 16GiB, got {text!r}")
    return float(found[1]) * UNITS[found[2]]


def read_fingerprint(path: Path) -> Fingerprint:
    """Read a fingerprint, alone or in a manifest.

    Raises:
        InputError: the file holds none.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: must be readable JSON, got {error}") from error
    try:
        is_manifest = isinstance(values, dict) and "cases" in values and "fingerprint" in values
        return Fingerprint.model_validate(values["fingerprint"] if is_manifest else values)
    except ValidationError as error:
        raise InputError(f"{path}: must hold a fingerprint, got {listed(error)}") from error


def _inline(value: object) -> str:
    """A value as params.yaml has it, on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _as_recipe(choices: list[tuple[str, object, str]], spec: NetworkSpec) -> str:
    """The values as sections of params.yaml."""
    sections: dict[str, dict[str, Any]] = {"network": {"options": dict(spec.options)}}
    for key, value, _ in choices:
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = value
    return yaml.safe_dump(sections, default_flow_style=True, width=1000, sort_keys=False)
