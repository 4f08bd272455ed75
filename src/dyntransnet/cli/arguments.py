"""Arguments that commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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


Source = Annotated[Path, typer.Argument(show_default=False, callback=existing)]
Out = Annotated[Path, typer.Option(help="Where the result goes.", show_default=False)]
ReportFolder = Annotated[
    Path, typer.Option(help="Folder for the stage's report.", show_default=False)
]
PatientFile = Annotated[Path, typer.Option(help="What split wrote.", show_default=False)]
RunFile = Annotated[Path, typer.Option(help="run.json of the training.", show_default=False)]
ControlKeyFile = Annotated[
    Path | None,
    typer.Option(help="Holds the key for loading models; else $DYNTRANSNET_CONTROL_KEY."),
]
ServersCa = Annotated[
    Path | None, typer.Option(help="Whose certificate the server must show; without it no TLS.")
]
ClientCert = Annotated[Path | None, typer.Option(help="To show to a server that wants one.")]
ClientKey = Annotated[Path | None, typer.Option(help="Of --tls-cert.")]
