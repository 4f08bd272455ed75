"""Arguments that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from dyntransnet.errors import InputError


def existing(path: Path) -> Path:
    """The same path.

    Raises:
        InputError: nothing is there.
    """
    if not path.exists():
        raise InputError(f"{path}: must exist (dvc repro makes it), got nothing there")
    return path


Source = Annotated[Path, typer.Argument(show_default=False, callback=existing)]
Out = Annotated[Path, typer.Option(help="Where the result goes.", show_default=False)]
ReportFolder = Annotated[
    Path, typer.Option(help="Folder for the stage's report.", show_default=False)
]
PatientFile = Annotated[Path, typer.Option(help="What split wrote.", show_default=False)]
RunFile = Annotated[Path, typer.Option(help="run.json of the training.", show_default=False)]
