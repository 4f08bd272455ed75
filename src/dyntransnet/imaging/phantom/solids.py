"""Solids in world space, of which a phantom is built.

Lengths are millimeters in RAS+. A solid says how deep a point lies inside it, so
that its edge can be soft, and so that any grid can sample it: the anatomy never
depends on spacing or orientation.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf

import numpy as np
from jaxtyping import Float32

Field = Float32[np.ndarray, "..."]
Vector = tuple[float, float, float]
Box = tuple[slice, slice, slice]

EVERYWHERE: tuple[Vector, Vector] = ((-inf, -inf, -inf), (inf, inf, inf))


@dataclass(frozen=True)
class Points:
    """World coordinates that broadcast against each other, as thin as the grid allows.

    Attributes:
        x: to the right.
        y: to the front.
        z: to the head.
        box: the canvas's voxels that the points are, if they are.
    """

    x: Field
    y: Field
    z: Field
    box: Box | None = None


@dataclass(frozen=True)
class Solid:
    """A region of space.

    Attributes:
        low: corner of a box that holds the solid.
        high: the opposite corner.
        depth: millimeters from the surface, positive inside; rough far away.
    """

    low: Vector
    high: Vector
    depth: Callable[[Points], Field]

    def within(self, other: "Solid") -> "Solid":
        """What both hold."""
        low, high = _each(max, self.low, other.low), _each(min, self.high, other.high)
        return Solid(low, high, lambda p: np.minimum(self.depth(p), other.depth(p)))

    def without(self, other: "Solid", gap_mm: float = 0.0) -> "Solid":
        """This solid, kept ``gap_mm`` away from another."""
        return Solid(
            self.low, self.high, lambda p: np.minimum(self.depth(p), -gap_mm - other.depth(p))
        )

    def joined(self, other: "Solid", blend_mm: float) -> "Solid":
        """Both solids, the crease between them filled."""
        low, high = _each(min, self.low, other.low), _each(max, self.high, other.high)
        return Solid(low, high, lambda p: -smooth_min(-self.depth(p), -other.depth(p), blend_mm))

    def shrunk(self, by_mm: float) -> "Solid":
        """The part deeper than ``by_mm``."""
        return Solid(self.low, self.high, lambda p: self.depth(p) - np.float32(by_mm))

    def wobbled(self, wobble: "Wobble") -> "Solid":
        """The solid with an uneven surface."""
        reach = wobble.amplitude
        low, high = tuple(v - reach for v in self.low), tuple(v + reach for v in self.high)
        return Solid(vector(low), vector(high), lambda p: self.depth(p) + wobble(p))


@dataclass(frozen=True)
class Wobble:
    """A smooth random function of space: a sum of plane waves.

    Attributes:
        amplitude: bound of the function's size.
        waves: radians per millimeter along each axis, and phase.
    """

    amplitude: float
    waves: tuple[tuple[float, float, float, float], ...]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, amplitude: float, wavelength_mm: float, terms: int = 5
    ) -> "Wobble":
        """Draw waves of about ``wavelength_mm``."""
        direction = rng.normal(size=(terms, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        frequency = 2 * np.pi / (wavelength_mm * rng.uniform(0.7, 1.6, (terms, 1)))
        phase = rng.uniform(0, 2 * np.pi, (terms, 1))
        waves = np.hstack([frequency * direction, phase]).tolist()
        return cls(amplitude, tuple((x, y, z, phase) for x, y, z, phase in waves))

    def __call__(self, p: Points) -> Field:
        """The function's values."""
        total: Field = np.zeros((), np.float32)
        for x, y, z, phase in self.waves:
            flat = p.x * np.float32(x) + p.y * np.float32(y) + np.float32(phase)
            total = total + np.cos(flat + p.z * np.float32(z))
        return np.asarray(total * np.float32(self.amplitude / len(self.waves) ** 0.5), np.float32)


def ellipsoid(center: Vector, radii: Vector, turn: np.ndarray | None = None) -> Solid:
    """An ellipsoid.

    Args:
        center: of mass.
        radii: along its own axes.
        turn: rotation matrix, its own axes to world; none keeps them equal.
    """
    rows = np.eye(3) if turn is None else turn.T
    reach = (np.abs(rows.T) @ np.array(radii)).tolist()

    def depth(p: Points) -> Field:
        local = [
            sum(
                (at - np.float32(c)) * np.float32(w)
                for at, c, w in zip((p.x, p.y, p.z), center, row, strict=True)
                if w
            )
            for row in rows
        ]
        scaled = [u * np.float32(1 / r) for u, r in zip(local, radii, strict=True)]
        a = np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2)
        gradient = sum((u * np.float32(1 / r)) ** 2 for u, r in zip(scaled, radii, strict=True))
        return a * (1 - a) / np.sqrt(gradient + np.float32(1e-8))

    low = vector(c - r for c, r in zip(center, reach, strict=True))
    high = vector(c + r for c, r in zip(center, reach, strict=True))
    return Solid(low, high, depth)


def tube(start: Vector, end: Vector, radius: float, end_radius: float | None = None) -> Solid:
    """A straight tube with round ends, tapering to ``end_radius``."""
    taper = 0.0 if end_radius is None else end_radius - radius
    axis = [b - a for a, b in zip(start, end, strict=True)]
    squared = max(sum(a * a for a in axis), 1e-6)

    def depth(p: Points) -> Field:
        x, y, z = (at - np.float32(c) for at, c in zip((p.x, p.y, p.z), start, strict=True))
        share = x * np.float32(axis[0] / squared) + y * np.float32(axis[1] / squared)
        share = np.clip(share + z * np.float32(axis[2] / squared), 0, 1)
        x, y, z = (at - share * np.float32(a) for at, a in zip((x, y, z), axis, strict=True))
        return np.float32(radius) + share * np.float32(taper) - np.sqrt(x * x + y * y + z * z)

    widest = max(radius, radius + taper)
    low = vector(min(a, b) - widest for a, b in zip(start, end, strict=True))
    high = vector(max(a, b) + widest for a, b in zip(start, end, strict=True))
    return Solid(low, high, depth)


def turned(axis: int, degrees: float) -> np.ndarray:
    """Rotation about a world axis."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    matrix[[one, other], [one, other]] = cosine
    matrix[one, other], matrix[other, one] = -sine, sine
    return matrix


def smooth_min(one: Field, other: Field, blend: float) -> Field:
    """The smaller of two, the crease rounded over ``blend``."""
    share = np.clip((other - one) * np.float32(0.5 / blend) + np.float32(0.5), 0, 1)
    return other + share * (one - other) - np.float32(blend) * share * (1 - share)


def _each(choose: Callable[[float, float], float], one: Vector, other: Vector) -> Vector:
    return vector(choose(a, b) for a, b in zip(one, other, strict=True))


def vector(values: Iterable[float] | np.ndarray) -> Vector:
    """Three numbers as a point or direction."""
    x, y, z = values
    return float(x), float(y), float(z)
