"""Tumors inside a phantom's liver, and the labels of both."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from dyntransnet.contract import Label
from dyntransnet.imaging.phantom.canvas import Canvas
from dyntransnet.imaging.phantom.liver import Liver, points_of
from dyntransnet.imaging.phantom.solids import Field, Solid, Vector, Wobble, ellipsoid, vector
from dyntransnet.imaging.phantom.tissue import Palette, Tissue

DIAMETER_MM = (6.0, 40.0)
"""Smallest and largest tumor."""

APART_MM = 9.0
"""Tumors keep this distance, so that the coarsest grid still tells them apart."""

DARKER_HU = (25.0, 60.0)
"""How far a tumor lies below the liver."""

ROUGHNESS = 0.1
"""Unevenness of a tumor's surface, as a share of its radius."""


@dataclass(frozen=True)
class Tumor:
    """One tumor.

    Attributes:
        solid: its shape.
        center: world position.
        radius: millimeters.
        darker: Hounsfield units below the liver.
        rim: Hounsfield units of the rim above the liver, 0 for none.
        necrosis: radius of the core as a share, 0 for none.
    """

    solid: Solid
    center: Vector
    radius: float
    darker: float
    rim: float
    necrosis: float


def draw_tumors(liver: Liver, count: int, rng: np.random.Generator) -> list[Tumor]:
    """Draw tumors that do not touch; largest first, and smaller where room is short."""
    smallest, largest = DIAMETER_MM
    # One draw from each of `count` equal shares: who has tumors has small and large ones.
    shares = (np.arange(count) + rng.uniform(size=count)) / max(count, 1)
    radii = (smallest + (largest - smallest) * shares[::-1] ** 1.5) / 2
    room = liver.solid.depth(points_of(liver.cloud))
    tumors: list[Tumor] = []
    for radius in radii.tolist():
        tumor = _tumor(liver, radius, room, rng)
        tumors.append(tumor)
        apart = np.linalg.norm(liver.cloud - np.array(tumor.center), axis=1)
        reach = tumor.radius * (1 + ROUGHNESS) + APART_MM
        room = np.minimum(room, (apart - reach).astype(np.float32))
    return tumors


def _tumor(liver: Liver, radius: float, room: Field, rng: np.random.Generator) -> Tumor:
    margin = 1.5
    while not (fits := room > radius * (1 + ROUGHNESS) + margin).any():
        radius *= 0.9
    center = vector(liver.cloud[rng.choice(np.flatnonzero(fits))])
    uneven = Wobble.draw(rng, ROUGHNESS * radius, 2.2 * radius)
    stretch = vector(radius * rng.uniform(0.9, 1.0, 3))
    return Tumor(
        solid=ellipsoid(center, stretch).wobbled(uneven).within(liver.solid.shrunk(1.0)),
        center=center,
        radius=radius,
        darker=rng.uniform(*DARKER_HU),
        rim=rng.choice([0.0, 0.0, 1.0]) * rng.uniform(15, 35),
        necrosis=rng.choice([0.0, 1.0]) * rng.uniform(0.4, 0.6) if radius > 9 else 0.0,
    )


def paint_tumors(canvas: Canvas, tumors: list[Tumor], hu: Palette) -> None:
    """Paint each tumor, from its rim to its core."""
    for tumor in tumors:
        value = hu[Tissue.LIVER] - tumor.darker
        if tumor.rim:
            canvas.paint(tumor.solid, hu[Tissue.LIVER] + tumor.rim)
        canvas.paint(tumor.solid.shrunk(2.0 if tumor.rim else 0.0), value)
        if tumor.necrosis:
            canvas.paint(tumor.solid.shrunk((1 - tumor.necrosis) * tumor.radius), value - 28)


def label(canvas: Canvas, liver: Liver, tumors: list[Tumor]) -> UInt8[np.ndarray, "x y z"]:
    """The known answer on the canvas's grid; a tumor always keeps the voxel nearest its center."""
    labels = np.zeros(canvas.grid.shape, np.uint8)
    box, p = canvas.near(liver.solid.low, liver.solid.high)
    pieces, _ = ndimage.label(liver.solid.depth(p) > 0)
    # What neighbors carve off is a few voxels at most; a patient has one liver.
    labels[box][pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])] = Label.LIVER
    for tumor in tumors:
        box, p = canvas.near(tumor.solid.low, tumor.solid.high)
        labels[box][tumor.solid.depth(p) > 0] = Label.TUMOR
        labels[canvas.grid.nearest(tumor.center)] = Label.TUMOR
    return labels
