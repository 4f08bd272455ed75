"""One short command per stage, then segment, score, serve and demo.

Only this module turns a package error into one line and exit code 1.
"""

import sys

import typer

from dyntransnet.cli import data, stages, use, verdicts
from dyntransnet.errors import DynTransNetError

COMMANDS = (
    *(stages.ingest, stages.split, stages.preprocess, stages.train, stages.evaluate),
    *(stages.export, stages.register, stages.publish, stages.compare),
    *(use.segment, use.serve, use.rollback, use.demo, use.build_engine),
    *(verdicts.score, verdicts.gate, verdicts.regression),
    *(data.cases, data.changes, data.phantoms, data.plan, data.recipe, data.networks),
)
"""In the order of ``--help``. What a command needs it imports itself: that takes seconds."""

app = typer.Typer(
    help=__doc__.splitlines()[0],
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run a command; a package error becomes one line on stderr and exit code 1."""
    try:
        app()
    except DynTransNetError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
