"""What a person or a script sees of scans on their way."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dyntransnet.batch import Outcome, State
from dyntransnet.client import Phase
from dyntransnet.client import Progress as Step
from dyntransnet.client.progress import Listener
from dyntransnet.errors import DynTransNetError


def show(outcomes: Iterable[Outcome], total: int, *, as_json: bool) -> list[DynTransNetError]:
    """Print a line for each scan as it ends, and in a terminal a bar.

    Args:
        outcomes: as they come.
        total: how many are expected.
        as_json: a JSON object for each scan instead of a line for each mask.

    Returns:
        What went wrong.
    """
    states: Counter[State] = Counter()
    errors = []
    with _bar(total) as advance:
        for outcome in outcomes:
            states[outcome.state] += 1
            if outcome.error:
                errors.append(outcome.error)
            if line := json.dumps(_row(outcome)) if as_json else _line(outcome):
                print(line, flush=True)
            advance(states[State.FAILED])
    if total > 1 or states[State.SKIPPED]:
        print(_summary(states), file=sys.stderr)
    return errors


@contextmanager
def windows_of_one(total: int) -> Iterator[Listener | None]:
    """A bar of the windows of a single scan, in a terminal.

    Args:
        total: how many scans are expected.

    Yields:
        Whom to tell of steps; None where nobody would see the bar, or it is one of scans.
    """
    if total != 1 or not sys.stderr.isatty():
        yield None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=sys.stdout.isatty(),
    )
    task = bar.add_task("", total=None)

    def tell(step: Step) -> None:
        bar.update(task, description=step.phase.value)
        if step.phase is Phase.WORKING:
            bar.update(task, completed=step.done, total=step.total)

    with bar:
        yield tell


@contextmanager
def _bar(total: int) -> Any:
    """Gives what to call after each scan; nothing is drawn outside a terminal."""
    bar = Progress(
        TextColumn("segment"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=total < 2 or not sys.stderr.isatty(),
        redirect_stdout=sys.stdout.isatty(),  # else lines meant for a file would be drawn, too
    )
    task = bar.add_task("segment", total=total, failed="")
    with bar:
        yield lambda failed: bar.update(
            task, advance=1, failed=f"{failed} failed" if failed else ""
        )


def _line(outcome: Outcome) -> str:
    """Of a mask that was written; failures are listed at the end."""
    if outcome.found is None:
        return ""
    ml = {name: outcome.found.report[f"{name}_ml"] for name in ("liver", "tumor")}
    return f"{outcome.job.mask}: liver {ml['liver']:.0f} ml, tumor {ml['tumor']:.1f} ml"


def _row(outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {
        "case": outcome.job.id,
        "state": outcome.state.value,
        "scan": outcome.job.shown,
        "mask": str(outcome.job.mask),
        "seconds": round(outcome.seconds, 3),
    }
    if outcome.found:
        row["report"] = outcome.found.report
    if outcome.error:
        row |= {"error": str(outcome.error), "kind": type(outcome.error).__name__}
    return row


def _summary(states: Counter[State]) -> str:
    words = {State.DONE: "done", State.SKIPPED: "done before", State.FAILED: "failed"}
    return ", ".join(f"{states[state]} {word}" for state, word in words.items())
