"""One scan with its masks on three planes: what a person looks at first."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dyntransnet.contract import Modality
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.scoring.planes import (
    PREDICTED_COLOR,
    TRUTH_COLOR,
    draw_outline,
    draw_plane,
    legend_lines,
    look_of,
    point_of_interest,
    ras_spacing,
    to_ras,
)

PICTURE_HEIGHT_IN = 5.0
PLANES = (("axial", 2), ("coronal", 1), ("sagittal", 0))


def draw_overlay(
    scan: Scan,
    predicted: Mask,
    path: Path,
    *,
    truth: Mask | None,
    title: str,
    modality: Modality | None = None,
) -> None:
    """Draw three planes through the most interesting point, masks outlined.

    The point is the middle of the largest tumor area, else of the liver.

    Args:
        scan: the image.
        predicted: the mask under test.
        path: PNG file to write.
        truth: reference mask, where there is one.
        title: above the picture.
        modality: of the scan; None: told by its values.
    """
    look = look_of(to_ras(scan.voxels, scan.affine), modality)
    image, found = (to_ras(a, scan.affine)[look.body] for a in (scan.voxels, predicted.labels))
    known = to_ras(truth.labels, scan.affine)[look.body] if truth else None
    spacing = ras_spacing(scan.affine)
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
        draw_plane(axes, image, axis, point[axis], spacing, look.window)
        for labels, color in ((known, TRUTH_COLOR), (found, PREDICTED_COLOR)):
            if labels is not None:
                draw_outline(axes, labels, axis, point[axis], color)
        axes.text(0.02, 0.98, name, color="white", va="top", transform=axes.transAxes)
    figure.suptitle(title, color="white", fontsize=13)
    figure.legend(
        handles=legend_lines(with_truth=known is not None),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        labelcolor="white",
    )
    figure.savefig(path, dpi=90)
