"""Figures as files that are the same for the same content."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.use("Agg")

PICTURE_DPI = 100
FULL_WIDTH_IN = 12.0


def save_png_and_svg(figure: Figure, stem: Path) -> None:
    """Write a figure twice: as pixels and as lines, without date or random names.

    Args:
        figure: what to write.
        stem: path without suffix.
    """
    figure.savefig(stem.with_name(f"{stem.name}.png"), dpi=PICTURE_DPI)
    with mpl.rc_context({"svg.hashsalt": stem.name}):
        figure.savefig(stem.with_name(f"{stem.name}.svg"), dpi=PICTURE_DPI, metadata={"Date": None})
