"""Recipes: settings that belong together, written into params.yaml on request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from dyntransnet.atomic import new_file
from dyntransnet.config import PARAMS_FILE, Params, checked, read_yaml
from dyntransnet.errors import ParamsError

FOLDER = Path("recipes")


def use(name: str, *, params: Path = PARAMS_FILE, folder: Path = FOLDER) -> None:
    """Write a recipe's values over those of params.yaml; its comments stay.

    An intensity rule of another kind stays too: a recipe's window says nothing of MRI.

    Args:
        name: a file of the folder, without its ending.
        params: the file to change.
        folder: where recipes are.

    Raises:
        ParamsError: there is no such recipe, or the result would break a rule; the file
            is as before.
    """
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise ParamsError(f"recipe must be one of {', '.join(known) or 'none'}, got {name!r}")
    write((folder / f"{name}.yaml").read_text(), params=params, keeps_kind=True)


def write(recipe: str, *, params: Path = PARAMS_FILE, keeps_kind: bool = False) -> None:
    """Write YAML values over those of params.yaml; its comments stay.

    Args:
        recipe: sections of params.yaml with the keys to change.
        params: the file to change.
        keeps_kind: whether an intensity rule of another kind than the file's is left out.

    Raises:
        ParamsError: the result would break a rule; the file is as before.
    """
    text = _round_trip()
    values = text.load(params.read_text())
    found = text.load(recipe)
    if keeps_kind:
        _leave_other_kind(found.get("preprocess", {}), values["preprocess"])
    _put(found, values)
    with new_file(params) as path:
        text.dump(values, path)
        checked(Params, read_yaml(path), params)


def _round_trip() -> YAML:
    """YAML that is written as it was read: comments, lists in brackets, null spelled out."""
    text = YAML()
    text.width = 1000  # lines stay whole
    text.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return text


def _leave_other_kind(recipe: Any, values: Mapping[str, Any]) -> None:
    """Drop an intensity rule that would replace one of another kind."""
    if recipe.get("intensity", {}).get("kind") != values["intensity"]["kind"]:
        recipe.pop("intensity", None)


def _put(recipe: Mapping[str, Any], values: Any) -> None:
    """Sections are merged key by key; whatever else replaces what was there."""
    for key, value in recipe.items():
        if _is_merged(key, value, values.get(key)):
            _put(value, values[key])
        else:
            values[key] = value


def _is_merged(key: str, one: Any, other: Any) -> bool:
    """Options of another network and rules of another kind have other keys: none may stay."""
    if key == "options" or not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return False
    return bool(one.get("kind") == other.get("kind"))
