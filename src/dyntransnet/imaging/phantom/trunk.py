"""A phantom's trunk: skin, fat, muscle, bones, lungs, heart, and the couch beneath."""

from dataclasses import dataclass

import numpy as np

from dyntransnet.imaging.phantom.canvas import Canvas
from dyntransnet.imaging.phantom.solids import (
    EVERYWHERE,
    Field,
    Points,
    Solid,
    Wobble,
    ellipsoid,
    tube,
)
from dyntransnet.imaging.phantom.tissue import COUCH_HU, FOAM_HU, Palette, Tissue

RIB_PERIOD_MM = 27.0
NO_COUCH = 0.3
"""Share of scans that do not show the couch."""

CORTEX_MM = 2.2
"""Thickness of compact bone around marrow."""


@dataclass(frozen=True)
class Body:
    """One patient's build, in millimeters; the world's origin is the middle of the body.

    Attributes:
        half_width: of the trunk, left to right.
        half_depth: of the trunk, back to front.
        fat: mean thickness below the skin.
        wall: muscle between that fat and the abdominal cavity.
        right_dome: height of the diaphragm above the liver.
        left_dome: height of the diaphragm above the spleen.
        vertebra: height of one vertebra with its disc.
        phase: height of a disc, and of a rib.
        wobble: unevenness of the fat.
    """

    half_width: float
    half_depth: float
    fat: float
    wall: float
    right_dome: float
    left_dome: float
    vertebra: float
    phase: float
    wobble: Wobble

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Body":
        """Draw a patient."""
        half_width = rng.uniform(138, 160)
        right_dome = rng.uniform(62, 78)
        return cls(
            half_width=half_width,
            half_depth=half_width * rng.uniform(0.68, 0.76),
            fat=rng.uniform(5, 21),
            wall=rng.uniform(9, 14),
            right_dome=right_dome,
            left_dome=right_dome - rng.uniform(6, 20),
            vertebra=rng.uniform(32, 37),
            phase=rng.uniform(0, 30),
            wobble=Wobble.draw(rng, 3.0, 110.0, terms=3),
        )

    @property
    def spine_y(self) -> float:
        """Middle of the vertebral bodies."""
        return -0.94 * self.half_depth + 0.8 * self.fat + 64

    @property
    def abdomen(self) -> Solid:
        """The cavity below the diaphragm, a thin lining left out."""
        return Solid(
            (-self.half_width, -self.half_depth, EVERYWHERE[0][2]),
            (self.half_width, self.half_depth, self.right_dome),
            lambda p: np.minimum(
                self.cavity(p) - np.float32(2),
                (self.diaphragm(p) - np.float32(3) - p.z) * np.float32(0.75),
            ),
        )

    def skin(self, p: Points) -> Field:
        """Depth below the skin."""
        x, y = p.x, np.where(p.y < 0, p.y * np.float32(1.06), p.y)
        waist = 1 + np.float32(0.03) * np.cos((p.z - 40) * np.float32(1 / 60))
        u2, v2 = (x / (waist * self.half_width)) ** 2, (y * np.float32(1 / self.half_depth)) ** 2
        r2 = u2 + v2 + np.float32(1e-6)
        rho = np.sqrt(r2) * (1 - np.float32(0.28) * u2 * v2 / (r2 * r2))
        furrow = np.float32(6) * np.exp(-((x * np.float32(1 / 15)) ** 2)) * (p.y < 0)
        depth = np.sqrt(x * x + p.y * p.y) * (1 / rho - 1) - furrow
        return np.asarray(depth, np.float32)

    def layers(self, p: Points) -> tuple[Field, Field, Field]:
        """Depth below the skin, below the fat under it, and below ribs and muscles."""
        skin, sine = self.skin(p), sine_of(p)
        share = np.float32(1.05) - np.float32(0.25) * sine * sine - np.float32(0.1) * sine
        share = share - np.float32(0.003) * p.z
        fascia = skin - np.maximum(share * np.float32(self.fat) + self.wobble(p), 3)
        across = np.exp(-((p.x * np.float32(1 / 55)) ** 2))
        back = across * np.clip(p.y * np.float32(-1 / 40), 0, 1) * np.float32(24)
        wall = np.float32(self.wall) * (1 - np.float32(0.2) * sine)
        return skin, fascia, fascia - back - wall

    def cavity(self, p: Points) -> Field:
        """Depth inside ribs and muscles."""
        return self.layers(p)[2]

    def diaphragm(self, p: Points) -> Field:
        """Height of the diaphragm: a dome on either side, lower all around."""
        right = self._dome(p, 1.0, self.right_dome)
        left = self._dome(p, -1.0, self.left_dome)
        return np.float32(7) * np.logaddexp(right * np.float32(1 / 7), left * np.float32(1 / 7))

    def _dome(self, p: Points, side: float, top: float) -> Field:
        from_middle = p.x * np.float32(side) - np.float32(0.45 * self.half_width)
        across = np.where(from_middle > 0, from_middle * np.float32(1 / 58), from_middle / 150)
        along = np.where(p.y > 0, p.y * np.float32(1 / 92), p.y * np.float32(1 / 68))
        q = across * across + along * along
        return np.float32(top - 4) - np.float32(60) * q * (np.float32(0.6) + np.float32(0.4) * q)


def sine_of(p: Points) -> Field:
    """Sine of the direction seen from the body's axis: 1 in front, -1 at the back."""
    return p.y / np.sqrt(p.x * p.x + p.y * p.y + 1)


def paint_trunk(canvas: Canvas, body: Body, hu: Palette, rng: np.random.Generator) -> None:
    """Paint everything but the organs of the abdomen and the spine."""
    box, p = canvas.near(*EVERYWHERE)
    _paint_couch(canvas, body, rng)
    skin, fascia, cavity = body.layers(p)
    canvas.fill(box, skin, hu[Tissue.SKIN])
    canvas.fill(box, skin - np.float32(2), hu[Tissue.FAT])
    canvas.fill(box, fascia, hu[Tissue.MUSCLE])
    # A plane of fat parts the muscles of the flank.
    plane = np.minimum(np.float32(1) - np.abs(cavity + np.float32(0.5 * body.wall)), -25 - p.z)
    canvas.fill(box, plane, hu[Tissue.FAT])
    canvas.fill(box, cavity, hu[Tissue.FAT])
    above = (p.z - body.diaphragm(p)) * np.float32(0.75)
    canvas.fill(box, np.minimum(cavity, above + np.float32(2.5)), hu[Tissue.MUSCLE])
    middle = _mediastinum(body)
    canvas.fill(box, np.minimum(np.minimum(cavity, above), -middle.depth(p)), hu[Tissue.LUNG])
    canvas.paint(middle.within(Solid(*EVERYWHERE, lambda p: _above(body, p))), hu[Tissue.FAT])
    _paint_ribs(canvas, body, hu, cavity)
    _paint_lung_vessels(canvas, body, hu, rng)
    _paint_heart(canvas, body, hu, rng)


def paint_spine(canvas: Canvas, body: Body, hu: Palette) -> None:
    """Paint vertebrae, discs and the canal; the spine lies over what is in its way."""
    back = body.spine_y
    box, p = canvas.near((-45.0, back - 70, EVERYWHERE[0][2]), (45.0, back + 25, EVERYWHERE[1][2]))
    x, y = np.abs(p.x), p.y - np.float32(back)
    level = periodic(p.z, body.phase, body.vertebra)
    bulge = 1 + np.float32(0.4) * (level * np.float32(1 / body.vertebra)) ** 2
    column = (1 - np.sqrt((x / (22 * bulge)) ** 2 + (y / (17 * bulge)) ** 2)) * np.float32(18)
    column = np.minimum(column, y + np.float32(13))
    canvas.fill(box, column, hu[Tissue.DISC])
    height = np.float32(body.vertebra / 2 - 4) - np.abs(level)
    arch = (1 - np.sqrt((x / 15) ** 2 + ((y + 22) / 13) ** 2)) * np.float32(13)
    arch = np.minimum(arch, np.float32(13) - np.abs(level - 3))
    spinous = _bar(x, 3.8, y + 44, 16.0, level + 2 - np.float32(0.4) * (y + 46), 8.0)
    transverse = _bar(x, 34.0, y + 16 + np.float32(0.35) * x, 4.0, level - 4, 5.0)
    processes = np.maximum(spinous, transverse)
    for bone in (processes, arch, np.minimum(column, height)):
        canvas.fill(box, bone, hu[Tissue.CORTICAL_BONE])
        canvas.fill(box, bone - np.float32(CORTEX_MM), hu[Tissue.MARROW])
    canal = (1 - np.sqrt((x / 10) ** 2 + ((y + 22) / 8) ** 2)) * np.float32(8)
    canvas.fill(box, np.broadcast_to(canal, np.broadcast(canal, p.z).shape), hu[Tissue.CANAL])


def periodic(at: Field, phase: float, period: float) -> Field:
    """Signed distance to the nearest of evenly spaced heights."""
    return np.mod(at - np.float32(phase), np.float32(period)) - np.float32(period / 2)


def _bar(x: Field, rx: float, y: Field, ry: float, z: Field, rz: float) -> Field:
    return np.minimum(np.minimum(rx - np.abs(x), ry - np.abs(y)), rz - np.abs(z))


def _above(body: Body, p: Points) -> Field:
    return (p.z - body.diaphragm(p) - np.float32(1)) * np.float32(0.75)


def _mediastinum(body: Body) -> Solid:
    back, front = body.spine_y + 2, 0.95 * body.half_depth
    return ellipsoid(
        (-10.0, (back + front) / 2, body.right_dome), (42.0, (front - back) / 2, 400.0)
    )


def _paint_couch(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    """A curved shell filled with foam, where the field of view shows it."""
    gap, curve, thick = rng.uniform(1, 8), rng.uniform(600, 1500), rng.uniform(15, 35)
    if rng.uniform() < NO_COUCH:
        return
    box, p = canvas.near(*EVERYWHERE)
    top = p.x * p.x * np.float32(1 / curve) - np.float32(body.half_depth + gap)
    below = top - p.y + 0 * p.z
    canvas.fill(box, np.minimum(below, thick - below), COUCH_HU)
    canvas.fill(box, np.minimum(below - 3, thick - 3 - below), FOAM_HU)


def _paint_ribs(canvas: Canvas, body: Body, hu: Palette, cavity: Field) -> None:
    """Ribs run obliquely in the wall, turn to cartilage in front and end at the costal margin."""
    box, p = canvas.near(*EVERYWHERE)
    forward = np.float32(0.5) + np.arcsin(sine_of(p)) * np.float32(1 / np.pi)
    level = periodic(p.z + forward * np.float32(150), body.phase, RIB_PERIOD_MM)
    inward = cavity + np.float32(5.5)
    rib = (1 - np.sqrt((inward / 4.5) ** 2 + (level / 6) ** 2)) * np.float32(5)
    margin = p.z + np.float32(80) - np.float32(95) * forward * forward
    rib = np.minimum(np.minimum(rib, margin), np.abs(p.x) - np.float32(16))
    front = (forward - np.float32(0.78)) * np.float32(60)
    canvas.fill(box, rib, hu[Tissue.CORTICAL_BONE])
    canvas.fill(box, rib - np.float32(CORTEX_MM), hu[Tissue.MARROW])
    canvas.fill(box, np.minimum(rib, front), hu[Tissue.CARTILAGE])
    plate = np.minimum(np.float32(5) - np.abs(inward), np.float32(17) - np.abs(p.x))
    sternum = np.minimum(np.minimum(plate, p.y), p.z - np.float32(body.right_dome - 25))
    canvas.fill(box, sternum, hu[Tissue.CORTICAL_BONE])
    canvas.fill(box, sternum - np.float32(CORTEX_MM), hu[Tissue.MARROW])


def _paint_lung_vessels(canvas: Canvas, body: Body, hu: Palette, rng: np.random.Generator) -> None:
    chest = Solid(*EVERYWHERE, lambda p: np.minimum(body.cavity(p) - 4, _above(body, p) - 2))
    for _ in range(24):
        side = rng.choice([-1.0, 1.0])
        start = (side * rng.uniform(40, 70), rng.uniform(-40, 20), body.right_dome + 45)
        end = (
            side * rng.uniform(60, 115),
            rng.uniform(-65, 55),
            body.right_dome + rng.uniform(-50, 5),
        )
        vessel = tube(start, end, rng.uniform(2, 3.5), 1.0)
        canvas.paint(vessel.within(chest), hu[Tissue.MUSCLE])


def _paint_heart(canvas: Canvas, body: Body, hu: Palette, rng: np.random.Generator) -> None:
    center = (-25.0, 0.3 * body.half_depth, body.right_dome + rng.uniform(20, 32))
    radii = (rng.uniform(46, 56), rng.uniform(40, 48), 48.0)
    chest = Solid(*EVERYWHERE, lambda p: np.minimum(body.cavity(p) - 5, _above(body, p) - 3))
    heart = ellipsoid(center, radii).within(chest)
    canvas.paint(heart, hu[Tissue.MYOCARDIUM])
    for dx, radius in ((-16.0, 22.0), (24.0, 21.0)):
        chamber = ellipsoid((center[0] + dx, center[1], center[2]), (radius, 26.0, 36.0))
        canvas.paint(chamber.within(heart.shrunk(6.0)), hu[Tissue.VEIN])
