"""Whether masks are good, and whether a change made them worse."""

from pathlib import Path
from typing import Annotated

import typer

from dyntransnet.cli.arguments import Out
from dyntransnet.config import Params
from dyntransnet.scoring.convention import Convention


def score(
    truth: Annotated[Path, typer.Argument(help="Folder of reference masks, or one.")],
    predicted: Annotated[Path, typer.Argument(help="Folder of masks of the same names, or one.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables, their summary and report.html.")
    ] = None,
    convention: Annotated[
        Convention, typer.Option(help="Whose rules: this project's, or the LiTS challenge's.")
    ] = Convention.PROJECT,
    patients: Annotated[
        Path | None, typer.Option(help="JSON with each case's patient, as split writes it.")
    ] = None,
    nsd_liver_mm: Annotated[float, typer.Option(help="Of the surface Dice.", min=0)] = 3.0,
    nsd_tumor_mm: Annotated[float, typer.Option(help="Of the surface Dice.", min=0)] = 2.0,
) -> None:
    """Score masks of any tool against the truth."""
    from dyntransnet.scoring import scorecard

    nsd_mm = {"liver": nsd_liver_mm, "tumor": nsd_tumor_mm}
    scorecard.run(
        truth, predicted, out=out, convention=convention, patients=patients, nsd_mm=nsd_mm
    )


def gate(
    baseline: Annotated[Path, typer.Argument(help="Evaluation to hold against, or its cases.csv.")],
    candidate: Annotated[Path, typer.Argument(help="Evaluation of the change, or its cases.csv.")],
    patients: Annotated[
        Path | None, typer.Option(help="JSON with each case's patient, as split writes it.")
    ] = None,
    parity: Annotated[
        Path | None, typer.Option(help="parity.json of the change, held to export's limits.")
    ] = None,
    models: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Exported models of both, timed side by side.", metavar="OLD NEW"),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="File for the table.")] = None,
) -> None:
    """Refuse a change that may have lowered Dice, by the rules of register."""
    from dyntransnet.scoring import gatekeeper
    from dyntransnet.scoring.gate import Rules
    from dyntransnet.scoring.parity import ParityLimits, read_parity

    params = Params.load()
    limits: dict[str, ParityLimits] = {
        name: ParityLimits(**limit.model_dump()) for name, limit in params.export.limits.items()
    }
    gatekeeper.run(
        baseline,
        candidate,
        Rules(**params.register_.model_dump(exclude={"model", "alias"})),
        patients=patients,
        parity=read_parity(parity, limits) if parity else None,
        slowdown=_slowdown(*models) if models else None,
        markdown=markdown,
    )


def _slowdown(baseline: Path, candidate: Path) -> float:
    from dyntransnet.runtimes.latency import slowdown

    return slowdown(baseline, candidate)


def regression(out: Out) -> None:
    """Train shortly on small phantoms, and score; for the gate."""
    from dyntransnet import regression as training

    training.run(out, Params.load())
