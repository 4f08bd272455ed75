"""The house look of a scan with masks: one plane, two outlines, the colors of both."""

from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy import ndimage

from dyntransnet.contract import Label, Modality
from dyntransnet.imaging.geometry import orientation_of
from dyntransnet.imaging.intensity import body_of
from dyntransnet.imaging.scan import Affine, spacing_of

mpl.use("Agg")

WINDOW_HU = (-160.0, 240.0)
AIR_BELOW_HU = -150
BLACK_AND_WHITE = (1.0, 99.5)
"""Percentiles of an image without units: of all of it, which is mostly air, and of the body."""

TRUTH_COLOR = "#21d07a"
PREDICTED_COLOR = "#ff9f1c"
LineStyle = Literal["solid", "dashed"]
LABEL_STYLES: dict[Label, LineStyle] = {Label.LIVER: "dashed", Label.TUMOR: "solid"}


@dataclass(frozen=True)
class Look:
    """How an image is shown.

    Attributes:
        window: values that are black and white.
        body: the box that holds what is not air; all of an image that is.
    """

    window: tuple[float, float]
    body: tuple[slice, ...]


def look_of(image: np.ndarray, modality: Modality | None = None) -> Look:
    """Choose window and box of an image.

    Args:
        image: all of a scan.
        modality: what it is; None: CT where values fall below those of fat, which only
            Hounsfield units do.
    """
    if modality == "CT" or (modality is None and image.min() < AIR_BELOW_HU):
        return Look(WINDOW_HU, _box_of(image > AIR_BELOW_HU))
    values = image.astype(np.float32)
    body = body_of(values)
    low, high = BLACK_AND_WHITE
    black = float(np.percentile(values, low))
    white = float(np.percentile(values[body], high)) if body.any() else black
    return Look((black, max(white, black + 1e-6)), _box_of(body))


def _box_of(inside: np.ndarray) -> tuple[slice, ...]:
    found = ndimage.find_objects(inside.astype(np.uint8))
    return found[0] if found else tuple(slice(None) for _ in inside.shape)


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


def draw_plane(
    axes: Axes,
    image: np.ndarray,
    axis: int,
    index: int,
    spacing: np.ndarray,
    window: tuple[float, float],
) -> None:
    """Show one slice across an axis of a RAS image, as a radiologist looks at it."""
    across, up = (a for a in range(3) if a != axis)
    axes.imshow(
        _slice(image, axis, index),
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
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
