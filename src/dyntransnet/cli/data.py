"""What a dataset holds, and what it asks of a training."""

from pathlib import Path
from typing import Annotated

import typer

from dyntransnet import study
from dyntransnet.cli.arguments import Dataset, Out, Recipes, existing


def cases(source: Dataset) -> None:
    """List a dataset's cases, the patient of each, and where it lies; nothing is stored."""
    from dyntransnet.imaging.layouts import find_cases

    params = study.load().ingest
    for case in find_cases(source, params.layout, modality=params.modality):
        print(case.id, case.patient, case.origin, sep="\t")


def changes(
    old: Annotated[
        str,
        typer.Argument(help="A git revision, runs:/ID, models:/NAME@ALIAS, or a manifest's path."),
    ] = "HEAD",
    new: Annotated[
        str | None, typer.Argument(help="Likewise; without it, the manifest that lies here.")
    ] = None,
    manifest: Annotated[Path, typer.Option(help="What ingest writes.")] = Path(
        "data/manifest.json"
    ),
) -> None:
    """Say which cases differ between two versions of the dataset."""
    from dyntransnet import changes as versions

    for line in versions.run(old, new, manifest):
        print(line)


def phantoms(recipes: Recipes, out: Out) -> None:
    """Write synthetic scans with their masks, in LiTS layout."""
    from dyntransnet.imaging.phantom.recipes import read_recipes, write_phantoms

    write_phantoms(read_recipes(recipes), out)


def plan(
    manifest: Annotated[
        Path,
        typer.Argument(help="What ingest wrote, or a model's fingerprint.json.", callback=existing),
    ],
    memory: Annotated[str, typer.Option(help="Of the device that trains, as 16GB.")],
    network: Annotated[str | None, typer.Option(help="Instead of params.yaml's.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Put it into params.yaml.")] = False,
) -> None:
    """Propose grid, values, patch and batch for a dataset and a memory budget."""
    from dyntransnet.plan import proposal

    for line in proposal.run(manifest, memory, network=network, write=write):
        print(line)


def recipe(name: Annotated[str, typer.Argument(help="A file of recipes/: base, tiny ...")]) -> None:
    """Write a recipe's settings into params.yaml."""
    from dyntransnet import recipes

    recipes.use(name)
    print(f"params.yaml: now as recipes/{name}.yaml says")


def networks(out: Out) -> None:
    """Write the table of all networks: parameters, cost, origin."""
    from dyntransnet.atomic import new_file
    from dyntransnet.learning.cost import document

    with new_file(out) as path:
        path.write_text(document())
