"""A phantom's liver with its vessels, and gallbladder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from dyntransnet.imaging.phantom.canvas import Canvas
from dyntransnet.imaging.phantom.organs import erector, kidney_bed, spine_block, vena_cava
from dyntransnet.imaging.phantom.solids import (
    Field,
    Points,
    Solid,
    Vector,
    Wobble,
    ellipsoid,
    smooth_min,
    tube,
    turned,
    vector,
)
from dyntransnet.imaging.phantom.tissue import Palette, Tissue
from dyntransnet.imaging.phantom.trunk import Body

VOLUME_ML = (1150.0, 2100.0)
"""Between which a liver's volume is drawn, before neighbors carve it."""

GALLBLADDER_REMOVED = 0.25
"""Share of patients without one."""

STEEPNESS = 0.8
"""Cosine of the lower surface's slope, which turns height into depth."""

CLOUD = 30_000
"""Random points that stand for the space a liver can fill."""

Cloud = Float32[np.ndarray, "n 3"]


@dataclass(frozen=True)
class Liver:
    """One patient's liver.

    Attributes:
        solid: the whole of it, vessels and tumors included.
        hilum: where the portal vein enters.
        gallbladder: lies in a bed below the liver; none after its removal.
        cloud: random points inside the liver.
    """

    solid: Solid
    hilum: Vector
    gallbladder: Solid | None
    cloud: Cloud


def draw_liver(body: Body, abdomen: Solid, rng: np.random.Generator) -> Liver:
    """Draw a liver under the right dome that reaches a drawn volume, then carve it."""
    low = (-0.6 * body.half_width, -0.9 * body.half_depth, -108.0)
    high = (body.half_width, body.half_depth, body.right_dome)
    cloud = rng.uniform(low, high, (CLOUD, 3)).astype(np.float32)
    roof, floor = _roof(body, abdomen, rng), _Floor.draw(rng)
    p = points_of(cloud)
    room = roof.depth(p) > 0
    cell_ml = float(np.prod(np.subtract(high, low))) / CLOUD / 1000
    count = min(int(rng.uniform(*VOLUME_ML) / cell_ml), int(room.sum()) - 1)
    floor = floor.raised(float(np.sort(floor.depth(p)[room])[-1 - count]))
    solid = Solid(low, high, lambda p: smooth_min(roof.depth(p), floor.depth(p), 12.0))
    hilum = (30.0, body.spine_y + 42, floor.at(30.0, 0.0) + 26)
    gallbladder = _gallbladder(floor, rng)
    solid = _carved(solid, body, hilum, gallbladder)
    return Liver(solid, hilum, gallbladder, cloud[solid.depth(p) > 0])


def points_of(cloud: Cloud) -> Points:
    """The points of a cloud."""
    return Points(cloud[:, 0], cloud[:, 1], cloud[:, 2])


@dataclass(frozen=True)
class _Floor:
    """The liver's lower surface, which rises from the right flank to the tip of the left lobe."""

    rise: float
    tilt: float
    height: float
    wobble: Wobble

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Floor":
        return cls(rng.uniform(0.5, 0.72), rng.uniform(-0.2, 0.1), 0.0, Wobble.draw(rng, 7.0, 90.0))

    def raised(self, depth: float) -> "_Floor":
        return replace(self, height=self.height + depth / STEEPNESS)

    def at(self, x: float, y: float) -> float:
        return self.height + self.rise * (100 - x) + self.tilt * y

    def depth(self, p: Points) -> Field:
        slope = p.z - np.float32(self.rise) * (100 - p.x) - np.float32(self.tilt) * p.y
        return (slope - np.float32(self.height)) * np.float32(STEEPNESS) + self.wobble(p)


def _roof(body: Body, abdomen: Solid, rng: np.random.Generator) -> Solid:
    """All that bounds the liver but its floor: wall, diaphragm, and its edge on the left."""
    reach, width = rng.uniform(75, 115), rng.uniform(9, 15)
    turn = body.spine_y + rng.uniform(48, 62)
    wobble = Wobble.draw(rng, 5.0, 70.0)

    def depth(p: Points) -> Field:
        s = 1 / (1 + np.exp((np.float32(turn) - p.y) * np.float32(1 / width)))
        slope = np.float32(reach / width) * s * (1 - s)
        edge = (p.x - 20 + np.float32(reach) * s) / np.sqrt(1 + slope * slope)
        inside = abdomen.depth(p)
        return np.minimum(inside, smooth_min(inside, edge + wobble(p), 8.0))

    return Solid(abdomen.low, abdomen.high, depth)


def _gallbladder(floor: _Floor, rng: np.random.Generator) -> Solid | None:
    x, y, size = rng.uniform(35, 52), rng.uniform(28, 48), rng.uniform(11, 16)
    if rng.uniform() < GALLBLADDER_REMOVED:
        return None
    z = floor.at(x, y)
    return tube((x - 4, y - 18, z + 8), (x, y + 10, z - 6), 0.6 * size, size)


def _carved(solid: Solid, body: Body, hilum: Vector, gallbladder: Solid | None) -> Solid:
    """Make room for the neighbors, and for the fat where vessels and ligament enter."""
    x, y, z = hilum
    fissure = ellipsoid((-4.0, y + 60, z - 20), (4.0, 52.0, 42.0), turned(axis=2, degrees=-12.0))
    solid = solid.without(vena_cava(body), 1.0).without(kidney_bed(body))
    solid = solid.without(spine_block(body)).without(erector(body, 1.0), 3.0).without(fissure)
    solid = solid.without(tube((x, y, z), (x - 26, y + 4, z - 14), 9.0, 13.0))
    return solid if gallbladder is None else solid.without(gallbladder, 1.0)


def paint_liver(
    canvas: Canvas, body: Body, liver: Liver, hu: Palette, rng: np.random.Generator
) -> None:
    """Paint liver, portal and hepatic veins, and gallbladder."""
    canvas.paint(liver.solid, hu[Tissue.LIVER])
    inside = liver.solid.shrunk(1.5)
    drain = (17.0, body.spine_y + 44, body.right_dome - 18)
    trees = (branches(liver.cloud, liver.hilum, 6.0, rng), branches(liver.cloud, drain, 5.5, rng))
    for vessel in (vessel for tree in trees for vessel in tree):
        canvas.paint(vessel.within(inside), hu[Tissue.HEPATIC_VESSEL])
    x, y, z = liver.hilum
    trunk = tube((x, y, z), (9.0, body.spine_y + 44, z - 28), 6.5)
    canvas.paint(trunk.without(liver.solid), hu[Tissue.VEIN])
    if liver.gallbladder is not None:
        canvas.paint(liver.gallbladder, hu[Tissue.BOWEL_WALL])
        canvas.paint(liver.gallbladder.shrunk(1.5), hu[Tissue.BILE])


def branches(
    cloud: Cloud, start: Vector, radius: float, rng: np.random.Generator, generations: int = 5
) -> Iterator[Solid]:
    """A tree of vessels that fills a cloud of points.

    Each branch runs part of the way to its points' middle, then the points are
    halved across their longest extent and each half gets a branch.
    """
    if not generations or len(cloud) < 2:
        return
    middle = cloud.mean(axis=0)
    end = vector(start + (middle - start) * rng.uniform(0.5, 0.7) + rng.normal(0, 3, 3))
    yield tube(start, end, radius, 0.77 * radius)
    direction = np.linalg.eigh(np.cov((cloud - middle).T))[1][:, -1]
    # An eigenvector's sign is the library's choice; the tree must not depend on it.
    direction *= np.sign(direction[np.abs(direction).argmax()])
    upper = (cloud - middle) @ direction > 0
    for half in (cloud[upper], cloud[~upper]):
        yield from branches(half, end, 0.77 * radius, rng, generations - 1)
