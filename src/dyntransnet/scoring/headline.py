"""What ``dvc metrics diff`` holds against an earlier evaluation: few numbers, with plain names."""

from collections.abc import Mapping
from typing import Any

from dyntransnet.scoring.calibration import Calibration
from dyntransnet.scoring.lesions import ALL
from dyntransnet.scoring.metrics import ScoredCase, summarize
from dyntransnet.scoring.summary import Spread, Summary

INTERVALS = ("dice", "nsd")
LESIONS = ("truth", "detected", "predicted", "false", "recall", "precision", "f1")

Metrics = dict[str, dict[str, Any]]


def headline(
    cases: Mapping[str, ScoredCase], summary: Summary, calibration: Mapping[str, Calibration]
) -> Metrics:
    """The contents of metrics.json.

    Args:
        cases: case id to its scores.
        summary: of these cases.
        calibration: per class.

    Returns:
        Per class what ``summarize`` gives, means over cases: the gate holds models
        against each other by these. ``definitions`` of Dice; ``intervals`` over
        patients, with their mean and n; ``lesions`` by size (all of them stand under
        ``tumor``); ``calibration``. None where a value is not defined.
    """
    return {
        **summarize([one.rows for one in cases.values()]),
        "definitions": {name: one.value for name, one in summary.definitions.items()},
        "intervals": {
            name: {score: _interval(scores[score]) for score in INTERVALS}
            for name, scores in summary.scores.items()
        },
        "lesions": {
            size: {name: getattr(one, name) for name in LESIONS}
            for size, one in summary.lesions.items()
            if size != ALL
        },
        "calibration": {
            name: {"ece": one.ece, "brier": one.brier} for name, one in calibration.items()
        },
    }


def flat(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float | int]:
    """Every defined number under one name, its parts joined by ``_``, as MLflow wants it."""
    found: dict[str, float | int] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}_")
        elif value is not None:
            found[f"{prefix}{key}"] = value
    return found


def _interval(spread: Spread) -> dict[str, float | int | None]:
    return {name: getattr(spread, name) for name in ("mean", "low", "high", "n")}
