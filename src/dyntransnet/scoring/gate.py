"""When a model may become champion."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from dyntransnet.errors import QualityGateError
from dyntransnet.scoring.overlap import CLASSES

Dices = Mapping[str, float | None]
"""Class to mean Dice; None where no test case had the class."""


def refusals(
    challenger: Dices, champion: Dices | None, *, minimum: Mapping[str, float], max_drop: float
) -> list[str]:
    """Every rule that a model breaks; none means that it may be served.

    Args:
        challenger: the new model's mean Dice per class.
        champion: the served model's, on the same test set; None where there is none.
        minimum: the least Dice per class.
        max_drop: how far a class may fall behind the champion.

    Returns:
        One line for each broken rule. A class without a score counts as 0.
    """
    broken = [
        f"Dice {name} must be at least {minimum[name]}, got {_shown(challenger[name])}"
        for name in CLASSES
        if _counted(challenger[name]) < minimum[name]
    ]
    for name in CLASSES if champion else ():
        ours, theirs = _counted(challenger[name]), _counted((champion or {})[name])
        if ours < theirs - max_drop:
            broken.append(
                f"Dice {name} must not fall more than {max_drop} below {theirs:.4f}, got {ours:.4f}"
            )
    return broken


def compare_files(base: Path, metrics: Path, *, max_drop: float) -> str:
    """Hold one evaluation against an earlier one.

    Args:
        base: metrics.json of the earlier evaluation.
        metrics: metrics.json of the new one.
        max_drop: how far a class may fall.

    Returns:
        A line that says what was compared.

    Raises:
        QualityGateError: a class fell further.
    """
    theirs, ours = (dices_of(json.loads(path.read_text())) for path in (base, metrics))
    if broken := refusals(ours, theirs, minimum=dict.fromkeys(CLASSES, 0.0), max_drop=max_drop):
        raise QualityGateError(f"{metrics}: {'; '.join(broken)}")
    shown = (f"{name} {_shown(theirs[name])} -> {_shown(ours[name])}" for name in CLASSES)
    return f"gate: passed, Dice {', '.join(shown)}"


def dices_of(summary: Mapping[str, Mapping[str, float | None]]) -> Dices:
    """The mean Dice per class of what ``summarize`` gave."""
    return {name: summary[name]["dice"] for name in CLASSES}


def _counted(dice: float | None) -> float:
    """NaN would pass every comparison."""
    return 0.0 if dice is None or math.isnan(dice) else dice


def _shown(dice: float | None) -> str:
    return "no score" if dice is None else f"{dice:.4f}"
