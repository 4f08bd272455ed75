"""From values to places in a picture, with round numbers along the axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

ROUND = (1.0, 2.0, 5.0, 10.0)
MOST_TICKS = 5
LEAST_SPAN = 1e-12
"""Values closer than this are one, and shown from 0 to 1."""


@dataclass(frozen=True)
class Tick:
    """A marked place of an axis.

    Attributes:
        at: its place.
        text: what stands there.
    """

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """A straight line of values.

    Attributes:
        low: value at ``start``.
        high: value at ``end``.
        start: first place.
        end: last place; it may lie before ``start``, as upwards does in a picture.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float | int) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self) -> list[Tick]:
        """Round values from ``low`` to ``high``."""
        step = _step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [Tick(self.at(n * step), f"{n * step:.10g}") for n in range(first, last + 1)]


def scale_of(
    values: Sequence[float],
    start: float,
    end: float,
    limits: tuple[float, float] | None = None,
) -> Scale:
    """A scale from and to round numbers, 0 among them.

    Args:
        values: that must fit.
        start: place of the lowest.
        end: place of the highest.
        limits: instead of what ``values`` need.
    """
    if limits:
        return Scale(*limits, start, end)
    low, high = min([0.0, *values]), max([0.0, *values])
    step = _step(high - low)
    return Scale(math.floor(low / step) * step, math.ceil(high / step) * step or step, start, end)


def _step(span: float) -> float:
    if span <= LEAST_SPAN:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(span / MOST_TICKS))
    return next(power * by for by in ROUND if span <= MOST_TICKS * power * by * (1 + 1e-9))
