"""Rows of a benchmark: several values each, as JSON, a Markdown table and a plot."""

import json
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REACHED = {">=": lambda value, goal: value / goal, "<=": lambda value, goal: goal / value}
"""How many times over a goal is reached."""

PACKAGES = ("numpy", "torch", "openvino", "onnxruntime", "monai", "scipy", "SimpleITK")


@dataclass(frozen=True)
class Row:
    """What was measured.

    Attributes:
        what: in words.
        goal: as ">= 5" or "<= 0.5", or in words; empty where there is none.
        values: of each round.
        digits: after the point, where it is shown.
    """

    what: str
    goal: str
    values: Sequence[float]
    digits: int = 2

    def spread(self) -> tuple[float, float, float]:
        """Smallest, median and largest."""
        return min(self.values), statistics.median(self.values), max(self.values)


def ratios(above: Iterable[float], below: Iterable[float]) -> list[float]:
    """Round by round: what else went on in a round hit both."""
    return [a / b for a, b in zip(above, below, strict=True)]


def conditions(**more: Any) -> dict[str, Any]:
    """Machine, versions and load, for whoever reads the figures."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load": [round(one, 1) for one in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        **more,
    }


def write(out: Path, name: str, rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """Write NAME.json, NAME.md and NAME.png, and print the table."""
    out.mkdir(parents=True, exist_ok=True)
    stored = {"conditions": facts, "rows": [asdict(row) for row in rows]}
    (out / f"{name}.json").write_text(json.dumps(stored, indent=1) + "\n")
    table = "\n".join(
        ["| what | goal | min | median | max |", "|---|---|--:|--:|--:|", *_lines(rows)]
    )
    (out / f"{name}.md").write_text(table + "\n")
    _plot(out / f"{name}.png", rows)
    print(json.dumps(facts), table, sep="\n\n")


def _lines(rows: Sequence[Row]) -> list[str]:
    shown = [" | ".join(f"{value:.{row.digits}f}" for value in row.spread()) for row in rows]
    return [f"| {row.what} | {row.goal} | {line} |" for row, line in zip(rows, shown, strict=True)]


def _plot(path: Path, rows: Sequence[Row]) -> None:
    """How far each row with a goal is on either side of it, from its worst to its best value."""
    from matplotlib.figure import Figure

    shown = [row for row in reversed(rows) if row.goal[:2] in REACHED]
    figure = Figure(figsize=(9, 1.2 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(shown):
        goal = float(row.goal[2:])
        low, middle, high = (REACHED[row.goal[:2]](value, goal) for value in row.spread())
        color = "tab:blue" if middle >= 1 else "tab:orange"
        axes.plot([low, high], [place, place], color=color, linewidth=3)
        axes.plot(middle, place, "o", color=color)
        told = f"{row.spread()[1]:.{row.digits}f} ({row.goal})"
        axes.annotate(told, (max(low, high), place), (6, -3), textcoords="offset points")
    axes.axvline(1, color="gray", linewidth=1)
    axes.set_yticks(range(len(shown)), [row.what for row in shown], fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("times the goal: right of the line it is reached; median (goal)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.35)
    figure.savefig(path, dpi=110)


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
