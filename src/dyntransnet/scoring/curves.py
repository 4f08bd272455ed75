"""Loss and validation Dice of one training against the step."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dyntransnet.scoring.records import Curve

mpl.use("Agg")

LOSS_COLOR = "#444444"
CLASS_COLORS = {"liver": "#0a6ebd", "tumor": "#d1495b"}


def draw_learning(losses: Curve, scores: Curve, path: Path) -> None:
    """Draw training loss and validation Dice of one training.

    Args:
        losses: rows with ``step`` and ``loss``.
        scores: rows with ``step`` and, where it is defined, ``dice_<class>``.
        path: PNG file to write.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _points(left, losses, "loss", LOSS_COLOR)
    for name, color in CLASS_COLORS.items():
        _points(right, scores, f"dice_{name}", color)
    right.legend(loc="lower right")
    frame(left, "Training loss", top=None)
    frame(right, "Validation Dice, whole volumes", top=1.0)
    figure.savefig(path, dpi=90)


def _points(axes: Axes, rows: Curve, name: str, color: str) -> None:
    known = [row for row in rows if name in row]
    steps, values = [row["step"] for row in known], [row[name] for row in known]
    axes.plot(
        steps, values, marker="o", markersize=4, color=color, label=name.removeprefix("dice_")
    )


def frame(axes: Axes, title: str, *, top: float | None) -> None:
    """Title, grid and limits of one panel; the scale begins at 0 and ends at ``top``."""
    axes.set(title=title, xlabel="step", ylim=(0, top))
    axes.grid(alpha=0.3)
