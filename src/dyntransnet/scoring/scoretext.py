"""Scores as a person reads them in a terminal."""

import math
from collections.abc import Mapping, Sequence

from dyntransnet.scoring.definitions import DEFINITIONS
from dyntransnet.scoring.lesions import VALUES, LesionSummary
from dyntransnet.scoring.statistics import LEAST_PATIENTS
from dyntransnet.scoring.summary import HOW, Spread, Summary

NOTHING = "-"
INTERVAL = f"{100 * HOW.confidence:g} % interval"


def summary_text(summary: Summary, nsd_mm: Mapping[str, float]) -> str:
    """Scores per class, lesions by size and the definitions of Dice, one table below another.

    Args:
        summary: what ``summarize_cases`` gave.
        nsd_mm: per class the tolerance of the surface Dice.
    """
    parts = []
    for name, scores in summary.scores.items():
        head = [name, "mean", "SD", "median", "quartiles", INTERVAL, "n", "undefined"]
        rows = [_score_row(score, spread, nsd_mm[name]) for score, spread in scores.items()]
        counts = ", ".join(f"{_words(key)} {n}" for key, n in summary.counts[name].items())
        parts.append(f"{_aligned([head, *rows])}\n{counts}\n")
    head = ["lesions", "truth", "found", "predicted", "false", *map(_words, VALUES)]
    rows = [_lesion_row(size, one) for size, one in summary.lesions.items()]
    parts.append(_aligned([head, *rows]) + "\n")
    head = ["Dice by definition", "value", INTERVAL, "n", ""]
    rows = [
        [name, _shown(one.value), _range(one.low, one.high), str(one.n), DEFINITIONS[name]]
        for name, one in summary.definitions.items()
    ]
    parts.append(_aligned([head, *rows]) + "\n")
    note = (
        f"Intervals: {HOW.draws} bootstrap draws over {summary.patients} patients; none below "
        f"{LEAST_PATIENTS}. Undefined scores are part of no mean.\n"
    )
    return "\n".join([*parts, note])


def lits_text(scores: Mapping[str, float | None], cases: int) -> str:
    """What the LiTS scorer prints."""
    rows = [[f"LiTS scorer, {cases} cases", ""]]
    rows += [[name, _shown(value)] for name, value in scores.items()]
    return _aligned(rows) + "\n"


def dice_text(dice: float) -> str:
    """One case's Dice."""
    return "not defined" if math.isnan(dice) else f"{dice:.4f}"


def _score_row(score: str, spread: Spread, tolerance_mm: float) -> list[str]:
    values = (spread.mean, spread.sd, spread.median)
    return [
        f"nsd at {tolerance_mm:g} mm" if score == "nsd" else _words(score),
        *map(_shown, values),
        _range(spread.q1, spread.q3),
        _range(spread.low, spread.high),
        str(spread.n),
        str(spread.undefined),
    ]


def _lesion_row(size: str, lesions: LesionSummary) -> list[str]:
    counts = (lesions.truth, lesions.detected, lesions.predicted, lesions.false)
    cells = []
    for name in VALUES:
        low, high = lesions.intervals[name] or (None, None)
        shown = _range(low, high)
        cells.append(_shown(getattr(lesions, name)) + ("" if shown == NOTHING else f" [{shown}]"))
    return [_words(size), *map(str, counts), *cells]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _range(low: float | None, high: float | None) -> str:
    return NOTHING if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _shown(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if at == 0 or at == len(row) - 1 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "\n".join(lines)
