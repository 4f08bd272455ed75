"""One case under many networks: three slices, truth and prediction in each."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dyntransnet.contract import Label
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.scoring.overlap import box_of
from dyntransnet.scoring.planes import (
    PREDICTED_COLOR,
    TRUTH_COLOR,
    Look,
    draw_outline,
    draw_plane,
    legend_lines,
    look_of,
    ras_spacing,
    to_ras,
)
from dyntransnet.scoring.study.pictures import FULL_WIDTH_IN, save_png_and_svg

AXIAL = 2
SLICES = 3
MOST_COLUMNS = 5
WIDEST_PANEL_IN = 3.6
NARROWEST_IN = 7.0
MARGIN_MM = 15.0


def draw_side_by_side(
    scan: Scan, truth: Mask, predictions: Mapping[str, Mask], stem: Path, *, title: str
) -> None:
    """Draw a network per column and a slice per row, up to five columns to a block.

    Args:
        scan: the image.
        truth: reference mask.
        predictions: heading of a column to the mask of its network.
        stem: path of the PNG and SVG files, without suffix.
        title: above the picture.
    """
    image, known = (to_ras(array, scan.affine) for array in (scan.voxels, truth.labels))
    found = {name: to_ras(mask.labels, scan.affine) for name, mask in predictions.items()}
    spacing = ras_spacing(scan.affine)
    rows, look = slices_of_interest(known), look_of(image)
    box = _box([mask[:, :, rows] for mask in (known, *found.values())], spacing, look)
    blocks = -(-len(found) // MOST_COLUMNS)
    columns = -(-len(found) // blocks)
    figure, panels = _grid(image[box], spacing, blocks, columns)
    for axes in panels.flat:
        axes.set_axis_off()
    for number, (name, labels) in enumerate(found.items()):
        block, column = divmod(number, columns)
        for row, index in enumerate(rows):
            axes = panels[block * SLICES + row, column]
            _panel(axes, image[box], (known[box], labels[box]), index, spacing, look)
            if row == 0:
                axes.set_title(name, color="white", fontsize=11)
            if column == 0:
                _say(axes, f"slice {index + 1} of {image.shape[AXIAL]}")
    figure.suptitle(title, color="white", fontsize=13)
    figure.legend(
        handles=legend_lines(with_truth=True),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        labelcolor="white",
    )
    save_png_and_svg(figure, stem)


def slices_of_interest(labels: np.ndarray) -> tuple[int, ...]:
    """Three axial slices, spread evenly over those with tumor; else liver, else all.

    Args:
        labels: RAS axis order.
    """
    count = labels.shape[AXIAL]
    for label in (Label.TUMOR, Label.LIVER):
        inside = np.flatnonzero((labels >= label).any(axis=(0, 1)))
        if len(inside) >= SLICES:
            break
    else:
        inside = np.arange(count)
    places = len(inside) * (2 * np.arange(SLICES) + 1) // (2 * SLICES)
    return tuple(int(inside[place]) for place in places)


def _box(masks: list[np.ndarray], spacing: np.ndarray, look: Look) -> tuple[slice, ...]:
    """What is shown of every slice: all liver of the masks with a margin, else the body."""
    inside = np.logical_or.reduce([mask > 0 for mask in masks])
    if not inside.any():
        return (*look.body[:AXIAL], slice(None))
    edges = zip(box_of(inside)[:AXIAL], np.ceil(MARGIN_MM / spacing).astype(int), strict=False)
    return (*(slice(max(0, edge.start - by), edge.stop + by) for edge, by in edges), slice(None))


def _grid(
    image: np.ndarray, spacing: np.ndarray, blocks: int, columns: int
) -> tuple[Figure, np.ndarray]:
    width_mm, depth_mm = (float(edge) for edge in (image.shape * spacing)[:AXIAL])
    panel = min(WIDEST_PANEL_IN, FULL_WIDTH_IN / columns)
    rows = blocks * SLICES
    figure = Figure(
        figsize=(
            max(NARROWEST_IN, columns * panel),
            rows * panel * depth_mm / width_mm + 0.5 * blocks + 1.0,
        ),
        layout="constrained",
        facecolor="black",
    )
    return figure, figure.subplots(rows, columns, squeeze=False)


def _panel(
    axes: Axes,
    image: np.ndarray,
    masks: tuple[np.ndarray, np.ndarray],
    index: int,
    spacing: np.ndarray,
    look: Look,
) -> None:
    draw_plane(axes, image, AXIAL, index, spacing, look.window)
    for labels, color in zip(masks, (TRUTH_COLOR, PREDICTED_COLOR), strict=True):
        draw_outline(axes, labels, AXIAL, index, color)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.02, 0.97, text, color="white", va="top", fontsize=9, transform=axes.transAxes)
