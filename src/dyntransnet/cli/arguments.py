"""Arguments that commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dyntransnet.errors import InputError

if TYPE_CHECKING:
    from dyntransnet.rollout.control import Address

REPOSITORY = Path("model_repository")


def existing(path: Path) -> Path:
    """The same path.

    Raises:
        InputError: nothing is there.
    """
    if not path.exists():
        raise InputError(f"{path}: must exist (dvc repro makes it), got nothing there")
    return path


def given(path: Path | None) -> Path:
    """The same path.

    Raises:
        InputError: there is none.
    """
    if path is None:
        raise InputError("publish: must be given what register wrote, or --to, got neither")
    return path


def address_of(
    url: str, control_key_file: Path | None, ca: Path | None, cert: Path | None, key: Path | None
) -> "Address":
    """A server, and what it wants to see.

    Raises:
        ServingError: the key file holds no key.
    """
    from dyntransnet.rollout.control import Address
    from dyntransnet.server.access import read_control_key

    return Address(url, read_control_key(control_key_file), ca=ca, cert=cert, key=key)


def _taken(told: str) -> Any:
    """An argument: something that is there."""
    return typer.Argument(help=told, show_default=False, callback=existing)


def _named(told: str) -> Any:
    """An option that must be given."""
    return typer.Option(help=told, show_default=False)


Dataset = Annotated[
    Path, _taken("The dataset: a folder in a layout of docs/data.md, or a YAML file of phantoms.")
]
Recipes = Annotated[Path, _taken("YAML file that describes each phantom.")]
Manifest = Annotated[Path, _taken("What is in every case, as ingest wrote it.")]
Cases = Annotated[Path, _taken("Folder of scans and masks that ingest wrote.")]
Splits = Annotated[Path, _taken("Who trains, validates and tests, as split wrote it.")]
Cache = Annotated[Path, _taken("Folder of arrays on the network's grid that preprocess wrote.")]
Checkpoint = Annotated[Path, _taken("Folder of weights and contract that train wrote.")]
Training = Annotated[Path, _taken("Folder of the training's report, with its run.json.")]
Model = Annotated[Path, _taken("Folder of ONNX file and contract that export wrote.")]
Evaluation = Annotated[Path, _taken("Folder of scores that evaluate wrote.")]
Parity = Annotated[Path, _taken("parity.json of export's report.")]
Runs = Annotated[Path, _taken("Folder of a study's trainings, each with its scores.")]
Repository = Annotated[Path, _taken("Triton's model repository, the network published.")]

Out = Annotated[Path, _named("Where the result goes.")]
ManifestOut = Annotated[Path, _named("JSON file of what is in every case.")]
ReportFolder = Annotated[Path, _named("Folder for the stage's report.")]
ResumeFolder = Annotated[Path, _named("Folder for the state that a stopped training goes on from.")]
SplitsFile = Annotated[Path, _named("What split wrote.")]
CasesFolder = Annotated[Path, _named("What ingest wrote.")]
RunFile = Annotated[Path, _named("run.json of the training.")]
ControlKeyFile = Annotated[
    Path | None,
    typer.Option(help="Holds the key for loading models; else $DYNTRANSNET_CONTROL_KEY."),
]
ServersCa = Annotated[
    Path | None, typer.Option(help="Whose certificate the server must show; without it no TLS.")
]
ClientCert = Annotated[Path | None, typer.Option(help="To show to a server that wants one.")]
ClientKey = Annotated[Path | None, typer.Option(help="Of --tls-cert.")]
