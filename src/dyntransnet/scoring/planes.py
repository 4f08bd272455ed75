"""The house look of a scan with masks: one plane, two outlines, the colors of both."""

from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy import ndimage

from dyntransnet.contract import Label
from dyntransnet.imaging.geometry import orientation_of
from dyntransnet.imaging.scan import Affine, spacing_of

mpl.use("Agg")

WINDOW_HU = (-160, 240)
AIR_BELOW_HU = -150
TRUTH_COLOR = "#21d07a"
PREDICTED_COLOR = "#ff9f1c"
LineStyle = Literal["solid", "dashed"]
LABEL_STYLES: dict[Label, LineStyle] = {Label.LIVER: "dashed", Label.TUMOR: "solid"}


def body_box(image: np.ndarray) -> tuple[slice, ...]:
    """The box that holds what is not air; all of an image that is."""
    found = ndimage.find_objects((image > AIR_BELOW_HU).astype(np.uint8))
    return found[0] if found else tuple(slice(None) for _ in image.shape)


def to_ras(array: np.ndarray, affine: Affine) -> np.ndarray:
    """Turn and flip an array so that its axes run to the right, front and head."""
    order, flipped = orientation_of(affine)
    flips = tuple(slice(None, None, -1) if flipped[axis] else slice(None) for axis in range(3))
    return array[flips].transpose(order)


def ras_spacing(affine: Affine) -> np.ndarray:
    """Voxel edges in millimeters after ``to_ras``."""
    return np.asarray(spacing_of(affine))[list(orientation_of(affine)[0])]


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


def draw_plane(axes: Axes, image: np.ndarray, axis: int, index: int, spacing: np.ndarray) -> None:
    """Show one slice across an axis of a RAS image, as a radiologist looks at it."""
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


def draw_outline(axes: Axes, labels: np.ndarray, axis: int, index: int, color: str) -> None:
    """Outline liver and tumors of one slice across an axis of RAS labels."""
    shown = _slice(labels, axis, index)
    for label, style in LABEL_STYLES.items():
        inside = shown >= label
        if inside.any() and not inside.all():
            axes.contour(inside, levels=[0.5], colors=color, linestyles=style, linewidths=1.3)


def legend_lines(*, with_truth: bool) -> list[Line2D]:
    """What a legend needs to explain the outlines."""
    whose = [("truth", TRUTH_COLOR)] * with_truth + [("prediction", PREDICTED_COLOR)]
    return [
        Line2D([], [], color=color, linestyle=style, label=f"{who}: {label.name.lower()}")
        for who, color in whose
        for label, style in LABEL_STYLES.items()
    ]


def _slice(array: np.ndarray, axis: int, index: int) -> np.ndarray:
    return array.take(index, axis=axis).T
