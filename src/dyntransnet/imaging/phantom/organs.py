"""The organs of the abdomen around the liver, many of them as bright as the liver."""

from itertools import pairwise

import numpy as np

from dyntransnet.imaging.phantom.canvas import Canvas
from dyntransnet.imaging.phantom.solids import (
    Solid,
    Vector,
    Wobble,
    ellipsoid,
    tube,
    turned,
    vector,
)
from dyntransnet.imaging.phantom.tissue import Palette, Tissue
from dyntransnet.imaging.phantom.trunk import Body

LOWEST_MM = -200.0
"""Below every field of view."""

LOOPS = 40
MESENTERIC_VESSELS = 30
STOOL_HU = 160.0
"""Bound of the unevenness of stool."""

CONTRAST_DRUNK = 0.35
"""Share of patients with contrast medium in the stomach."""

CONTENTS = (Tissue.GAS, Tissue.FLUID, Tissue.CONTRAST, Tissue.BOWEL_WALL, Tissue.BOWEL_WALL)
"""What a loop of small bowel holds; often it is collapsed."""


def paint_organs(
    canvas: Canvas, body: Body, abdomen: Solid, hu: Palette, rng: np.random.Generator
) -> None:
    """Paint what surrounds the liver, from the front to the back."""
    _paint_bowel(canvas, body, abdomen, hu, rng)
    _paint_colon(canvas, body, abdomen, hu, rng)
    _paint_pancreas(canvas, body, hu, rng)
    _paint_stomach(canvas, body, abdomen, hu, rng)
    canvas.paint(_spleen(body, abdomen, rng), hu[Tissue.SPLEEN])
    _paint_muscles(canvas, body, hu, rng)
    for side in (1.0, -1.0):
        _paint_kidney(canvas, kidney(body, side), side, body, hu, rng)


def paint_great_vessels(canvas: Canvas, body: Body, hu: Palette) -> None:
    """Paint aorta and inferior vena cava."""
    front = body.spine_y + 27
    for x, radius in ((-11.0, 11.5), (-9.0, 11.5)):
        canvas.paint(tube((x, front, LOWEST_MM), (x, front, -LOWEST_MM), radius), hu[Tissue.ARTERY])
    canvas.paint(vena_cava(body), hu[Tissue.VEIN])


def vena_cava(body: Body) -> Solid:
    """The inferior vena cava, which leaves its bed by the spine and rises behind the liver."""
    low, high = (24.0, body.spine_y + 26, LOWEST_MM), (24.0, body.spine_y + 28, -15.0)
    lower = tube(low, high, 11.0)
    upper = tube(high, (17.0, body.spine_y + 46, body.right_dome + 10), 11.0, 13.0)
    return lower.joined(upper, 3.0)


def spine_block(body: Body) -> Solid:
    """The room of the spine and the crura beside it."""
    y = body.spine_y
    return tube((0.0, y - 4, LOWEST_MM), (0.0, y - 4, -LOWEST_MM), 29.0)


def erector(body: Body, side: float) -> Solid:
    """The long muscle behind the ribs; ``side`` is 1 on the right."""
    return ellipsoid((side * 29, body.spine_y - 36, -60.0), (28.0, 21.0, 500.0))


def kidney(body: Body, side: float) -> Solid:
    """A kidney, its upper pole leaning towards the spine; ``side`` is 1 on the right."""
    turn = turned(axis=1, degrees=-14.0 * side) @ turned(axis=0, degrees=10.0)
    center = (side * 58.0, body.spine_y + 6, body.right_dome - (132 if side > 0 else 115))
    return ellipsoid(center, (26.0, 25.0, 52.0), turn)


def kidney_bed(body: Body) -> Solid:
    """The fat around the right kidney, which keeps the liver off the back there."""
    center = (50.0, body.spine_y - 8, body.right_dome - 128)
    return ellipsoid(center, (40.0, 46.0, 64.0), turned(axis=1, degrees=-14.0))


def _paint_kidney(
    canvas: Canvas, outer: Solid, side: float, body: Body, hu: Palette, rng: np.random.Generator
) -> None:
    x, y, z = ((a + b) / 2 for a, b in zip(outer.low, outer.high, strict=True))
    shape = outer.wobbled(Wobble.draw(rng, 3.0, 60.0))
    sinus = ellipsoid((x - side * 14, y + 4, z), (17.0, 10.0, 30.0)).wobbled(
        Wobble.draw(rng, 4.0, 25.0)
    )
    canvas.paint(shape, hu[Tissue.KIDNEY_CORTEX])
    canvas.paint(shape.shrunk(6.0).wobbled(Wobble.draw(rng, 5.0, 28.0)), hu[Tissue.KIDNEY_MEDULLA])
    canvas.paint(sinus, hu[Tissue.FAT])
    canvas.paint(
        tube((x - side * 8, y + 4, z), (-6.0, body.spine_y + 32, z + 8), 4.5), hu[Tissue.VEIN]
    )


def _paint_muscles(canvas: Canvas, body: Body, hu: Palette, rng: np.random.Generator) -> None:
    """Psoas muscles beside the lower spine, crura beside the upper, erectors behind all of it."""
    y, width = body.spine_y, rng.uniform(15, 20)
    for side in (-1.0, 1.0):
        start, end = (side * 24, y - 2, -10.0), (side * 44, y + 4, LOWEST_MM)
        canvas.paint(tube(start, end, 5.0, 1.9 * width), hu[Tissue.MUSCLE])
        crus = tube((side * 17, y + 22, -70.0), (side * 20 - 4, y + 30, body.right_dome - 5), 6.0)
        canvas.paint(crus, hu[Tissue.MUSCLE])
        canvas.paint(erector(body, side), hu[Tissue.MUSCLE] - 6)


def _spleen(body: Body, abdomen: Solid, rng: np.random.Generator) -> Solid:
    center = (-0.72 * body.half_width, -0.3 * body.half_depth, body.left_dome - rng.uniform(42, 58))
    radii = (rng.uniform(36, 46), rng.uniform(50, 62), rng.uniform(44, 60))
    hilum = ellipsoid((center[0] + 50, center[1] + 34, center[2] - 5), (32.0, 40.0, 50.0))
    outer = ellipsoid(center, radii).wobbled(Wobble.draw(rng, 4.0, 60.0))
    return outer.without(hilum).within(abdomen)


def _paint_stomach(
    canvas: Canvas, body: Body, abdomen: Solid, hu: Palette, rng: np.random.Generator
) -> None:
    """A bag under the left dome that crosses the midline: fluid at the back, air in front."""
    size = rng.uniform(0.8, 1.15)
    top = body.left_dome
    fundus = ellipsoid((-62.0, 8.0, top - 36), (36 * size, 42 * size, 34 * size))
    trunk = tube((-60.0, 14.0, top - 36), (-38.0, 48.0, top - 88), 27 * size, 22 * size)
    antrum = tube((-38.0, 48.0, top - 88), (20.0, 44.0, top - 90), 22 * size, 12.0)
    bag = fundus.joined(trunk, 12.0).joined(antrum, 8.0).wobbled(Wobble.draw(rng, 5.0, 45.0))
    bag = bag.within(abdomen)
    canvas.paint(bag, hu[Tissue.BOWEL_WALL])
    content = hu[Tissue.CONTRAST if rng.uniform() < CONTRAST_DRUNK else Tissue.FLUID]
    _paint_content(canvas, bag.shrunk(rng.uniform(3, 6)), content, hu, rng.uniform(0, 45))


def _paint_content(
    canvas: Canvas, hollow: Solid, content: float | Wobble, hu: Palette, level: float
) -> None:
    """Fill a hollow organ of a patient who lies on the back; gas gathers in front of ``level``."""
    canvas.paint(hollow, content)
    gas = Solid(
        hollow.low, hollow.high, lambda p: np.minimum(hollow.depth(p), p.y - np.float32(level))
    )
    canvas.paint(gas, hu[Tissue.GAS])


def _paint_bowel(
    canvas: Canvas, body: Body, abdomen: Solid, hu: Palette, rng: np.random.Generator
) -> None:
    """Short bent loops that fill the lower abdomen, and vessels between them."""
    for _ in range(LOOPS):
        start = _in_mesentery(body, rng)
        end = vector(np.add(start, rng.normal(0, (24, 12, 14))))
        loop = tube(start, end, rng.uniform(10, 18), rng.uniform(10, 18))
        loop = loop.wobbled(Wobble.draw(rng, 3.0, 24.0, terms=3)).within(abdomen)
        canvas.paint(loop, hu[Tissue.BOWEL_WALL] + rng.uniform(-15, 15))
        content = CONTENTS[rng.integers(len(CONTENTS))]
        if content is not Tissue.BOWEL_WALL:
            level = (start[1] + end[1]) / 2 + rng.uniform(0, 30)
            _paint_content(canvas, loop.shrunk(2.8), hu[content], hu, level)
    for _ in range(MESENTERIC_VESSELS):
        start = _in_mesentery(body, rng)
        end = vector(np.add(start, rng.normal(0, (12, 12, 25))))
        canvas.paint(tube(start, end, rng.uniform(1.5, 3.5)).within(abdomen), hu[Tissue.VEIN])


def _in_mesentery(body: Body, rng: np.random.Generator) -> Vector:
    y = rng.uniform(body.spine_y + 38, 0.72 * body.half_depth)
    return rng.uniform(-0.6, 0.55) * body.half_width, y, rng.uniform(-125, -25)


def _paint_colon(
    canvas: Canvas, body: Body, abdomen: Solid, hu: Palette, rng: np.random.Generator
) -> None:
    """Ascending, transverse and descending colon, with stool or gas, haustrated."""
    right, left = 0.6 * body.half_width, -0.68 * body.half_width
    back, front, bend = -0.12 * body.half_depth, 0.55 * body.half_depth, rng.uniform(-85, -60)
    path = [
        ((right, back, LOWEST_MM), (right - 4, back + 12, bend - 22)),
        ((right - 4, back + 12, bend - 22), (0.3 * right, front, bend - 10)),
        ((0.3 * right, front, bend - 10), (0.5 * left, front, bend - rng.uniform(0, 15))),
        ((0.5 * left, front, bend), (left, back, -20.0)),
        ((left, back, -20.0), (left - 4, back - 15, LOWEST_MM)),
    ]
    for start, end in path:
        haustra = Wobble.draw(rng, 5.0, 30.0)
        part = tube(start, end, rng.uniform(15, 23)).wobbled(haustra).within(abdomen)
        canvas.paint(part, hu[Tissue.BOWEL_WALL])
        stool = Wobble.draw(rng, STOOL_HU, 12.0, terms=8)
        level = (start[1] + end[1]) / 2 + rng.uniform(-5, 20)
        _paint_content(canvas, part.shrunk(3.0), stool, hu, level)


def _paint_pancreas(canvas: Canvas, body: Body, hu: Palette, rng: np.random.Generator) -> None:
    """Head beside the duodenum, body over the aorta, tail towards the spleen."""
    y, z = body.spine_y, body.right_dome - 105
    points = [
        (26.0, y + 46, z - 16),
        (2.0, y + 58, z),
        (-40.0, y + 48, z + 10),
        (-80.0, y + 32, z + 22),
    ]
    lobes = Wobble.draw(rng, 4.0, 16.0)
    for (start, end), radius in zip(pairwise(points), (14, 10, 10), strict=True):
        part = tube(start, end, float(radius), 10.0).wobbled(lobes)
        canvas.paint(part, hu[Tissue.PANCREAS])
    vein_y = y + 44
    canvas.paint(tube((-70.0, y + 28, z + 20), (8.0, vein_y, z), 4.5), hu[Tissue.VEIN])
    canvas.paint(tube((9.0, vein_y + 4, LOWEST_MM), (9.0, vein_y, z), 6.0), hu[Tissue.VEIN])
