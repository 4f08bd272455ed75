"""Pictures of masks and of learning: what a person looks at first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import ndimage

from dyntransnet.contract import Label
from dyntransnet.imaging.geometry import orientation_of
from dyntransnet.imaging.scan import Affine, Mask, Scan, spacing_of

mpl.use("Agg")

WINDOW_HU = (-160, 240)
AIR_BELOW_HU = -150
PICTURE_HEIGHT_IN = 5.0
PLANES = (("axial", 2), ("coronal", 1), ("sagittal", 0))
TRUTH_COLOR = "#21d07a"
PREDICTED_COLOR = "#ff9f1c"
LOSS_COLOR = "#444444"
CLASS_COLORS = {"liver": "#0a6ebd", "tumor": "#d1495b"}
LineStyle = Literal["solid", "dashed"]
TUMOR_STYLE: LineStyle = "solid"
LIVER_STYLE: LineStyle = "dashed"


def draw_overlay(
    scan: Scan, predicted: Mask, path: Path, *, truth: Mask | None, title: str
) -> None:
    """Draw three planes through the most interesting point, masks outlined.

    The point is the middle of the largest tumor area, else of the liver.

    Args:
        scan: the image.
        predicted: the mask under test.
        path: PNG file to write.
        truth: reference mask, where there is one.
        title: above the picture.
    """
    body = body_box(to_ras(scan.voxels, scan.affine))
    image, found = (to_ras(a, scan.affine)[body] for a in (scan.voxels, predicted.labels))
    known = to_ras(truth.labels, scan.affine)[body] if truth else None
    spacing = np.asarray(spacing_of(scan.affine))[list(orientation_of(scan.affine)[0])]
    point = point_of_interest(found if known is None or not known.any() else known)
    width, depth, height = (float(edge) for edge in np.asarray(image.shape) * spacing)
    scale = PICTURE_HEIGHT_IN / max(depth, height)
    figure = Figure(
        figsize=((2 * width + depth) * scale, PICTURE_HEIGHT_IN + 0.8),
        layout="constrained",
        facecolor="black",
    )
    panels = figure.subplots(1, 3, width_ratios=(width, width, depth))
    for axes, (name, axis) in zip(panels, PLANES, strict=True):
        _plane(axes, image, axis, point[axis], spacing)
        for labels, color in ((known, TRUTH_COLOR), (found, PREDICTED_COLOR)):
            if labels is not None:
                _outline(axes, labels, axis, point[axis], color)
        axes.text(0.02, 0.98, name, color="white", va="top", transform=axes.transAxes)
    figure.suptitle(title, color="white", fontsize=13)
    figure.legend(
        handles=_legend(with_truth=known is not None),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        labelcolor="white",
    )
    figure.savefig(path, dpi=90)


def body_box(image: np.ndarray) -> tuple[slice, ...]:
    """The box that holds what is not air; all of an image that is."""
    found = ndimage.find_objects((image > AIR_BELOW_HU).astype(np.uint8))
    return found[0] if found else tuple(slice(None) for _ in image.shape)


def draw_learning(
    losses: Sequence[Mapping[str, float]], scores: Sequence[Mapping[str, float]], path: Path
) -> None:
    """Draw training loss and validation Dice against the step.

    Args:
        losses: rows with ``step`` and ``loss``.
        scores: rows with ``step`` and, where it is defined, ``dice_<class>``.
        path: PNG file to write.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curve(left, losses, "loss", LOSS_COLOR)
    left.set(title="Training loss (Dice + BCE)", xlabel="step", ylim=(0, None))
    for name, color in CLASS_COLORS.items():
        _curve(right, scores, f"dice_{name}", color)
    right.set(title="Validation Dice, whole volumes", xlabel="step", ylim=(0, 1))
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90)


def _curve(axes: Axes, rows: Sequence[Mapping[str, float]], name: str, color: str) -> None:
    known = [row for row in rows if name in row]
    steps, values = [row["step"] for row in known], [row[name] for row in known]
    axes.plot(
        steps, values, marker="o", markersize=4, color=color, label=name.removeprefix("dice_")
    )


def to_ras(array: np.ndarray, affine: Affine) -> np.ndarray:
    """Turn and flip an array so that its axes run to the right, front and head."""
    order, flipped = orientation_of(affine)
    flips = tuple(slice(None, None, -1) if flipped[axis] else slice(None) for axis in range(3))
    return array[flips].transpose(order)


def point_of_interest(labels: np.ndarray) -> tuple[int, int, int]:
    """The voxel where the largest tumor slices cross; of the liver where no tumor is."""
    for label in (Label.TUMOR, Label.LIVER):
        inside = labels >= label
        if inside.any():
            x, y, z = (
                int(inside.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())
                for axis in range(3)
            )
            return x, y, z
    x, y, z = (edge // 2 for edge in labels.shape)
    return x, y, z


def _plane(axes: Axes, image: np.ndarray, axis: int, index: int, spacing: np.ndarray) -> None:
    across, up = (a for a in range(3) if a != axis)
    axes.imshow(
        _slice(image, axis, index),
        cmap="gray",
        vmin=WINDOW_HU[0],
        vmax=WINDOW_HU[1],
        origin="lower",
        aspect=spacing[up] / spacing[across],
        interpolation="bilinear",
    )
    if axis != 0:
        axes.invert_xaxis()  # radiological: the patient's right is on the left
    axes.set_axis_off()


def _outline(axes: Axes, labels: np.ndarray, axis: int, index: int, color: str) -> None:
    shown = _slice(labels, axis, index)
    for label, style in ((Label.LIVER, LIVER_STYLE), (Label.TUMOR, TUMOR_STYLE)):
        inside = shown >= label
        if inside.any() and not inside.all():
            axes.contour(inside, levels=[0.5], colors=color, linestyles=style, linewidths=1.3)


def _slice(array: np.ndarray, axis: int, index: int) -> np.ndarray:
    return array.take(index, axis=axis).T


def _legend(*, with_truth: bool) -> list[Line2D]:
    whose = [("truth", TRUTH_COLOR)] * with_truth + [("prediction", PREDICTED_COLOR)]
    what: dict[str, LineStyle] = {"liver": LIVER_STYLE, "tumor": TUMOR_STYLE}
    return [
        Line2D([], [], color=color, linestyle=style, label=f"{who}: {name}")
        for who, color in whose
        for name, style in what.items()
    ]
