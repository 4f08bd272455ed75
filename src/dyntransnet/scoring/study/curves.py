"""Loss and validation Dice of many trainings against the step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dyntransnet.scoring.records import Curve
from dyntransnet.scoring.study.pictures import FULL_WIDTH_IN, save_png_and_svg
from dyntransnet.scoring.study.trainings import Training

VARIANT_COLORS = (
    "#0a6ebd", "#d1495b", "#2a9d4b", "#e08a00", "#7b4fb3",
    "#00949e", "#8c5a2b", "#d05ca8", "#5f6b7a", "#a3a300",
)  # fmt: skip
LEGEND_COLUMNS = 4


def draw_learning_of(trainings: Mapping[str, Sequence[Training]], stem: Path) -> None:
    """Draw training loss and validation Dice.

    Each variant is one line, the mean over its seeds and folds, in a band from the
    lowest to the highest. The line ends with the shortest training.

    Args:
        trainings: variant to its trainings.
        stem: path of the PNG and SVG files, without suffix.
    """
    figure = Figure(figsize=(FULL_WIDTH_IN, 5.0), layout="constrained")
    panels = figure.subplots(1, 3)
    for number, (variant, runs) in enumerate(trainings.items()):
        color = VARIANT_COLORS[number % len(VARIANT_COLORS)]
        curves = [run.losses for run in runs]
        scores = [run.validations for run in runs]
        _band(panels[0], curves, "loss", color, variant)
        _band(panels[1], scores, "dice_liver", color, variant)
        _band(panels[2], scores, "dice_tumor", color, variant)
    _frame(panels[0], "Training loss", top=None)
    _frame(panels[1], "Validation Dice, liver", top=1.0)
    _frame(panels[2], "Validation Dice, tumor", top=1.0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False)
    save_png_and_svg(figure, stem)


def mean_curve(
    curves: Sequence[Curve], name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Average curves that need not share their steps.

    Args:
        curves: rows with ``step`` and, where it is defined, ``name``.
        name: the value.

    Returns:
        Steps that all curves reach, and there the mean, lowest and highest value,
        linear between points; empty where no curve has the value.
    """
    known = [[(row["step"], row[name]) for row in curve if name in row] for curve in curves]
    drawn = [np.array(points, float).T for points in known if points]
    if not drawn:
        return (np.empty(0),) * 4
    first, last = max(steps[0] for steps, _ in drawn), min(steps[-1] for steps, _ in drawn)
    steps = np.unique(np.concatenate([steps for steps, _ in drawn]))
    steps = steps[(steps >= first) & (steps <= last)]
    values = np.array([np.interp(steps, *points) for points in drawn])
    return steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def _band(axes: Axes, curves: Sequence[Curve], name: str, color: str, variant: str) -> None:
    steps, mean, low, high = mean_curve(curves, name)
    axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
    trainings = f"{len(curves)} training{'s' if len(curves) != 1 else ''}"
    axes.plot(steps, mean, color=color, linewidth=1.8, label=f"{variant} ({trainings})")


def _frame(axes: Axes, title: str, *, top: float | None) -> None:
    """Title, grid and limits of one panel; the scale begins at 0 and ends at ``top``."""
    axes.set(title=title, xlabel="step", ylim=(0, top))
    axes.grid(alpha=0.3)
