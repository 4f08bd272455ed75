"""Charts as shapes in places; the page's template draws them as lines of text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dyntransnet.scoring.metrics import ScoredCase
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.report.scales import Scale, Tick, scale_of
from dyntransnet.scoring.report.words import SHARES, digits_of, name_of, shown
from dyntransnet.scoring.summary import SCORES


@dataclass(frozen=True)
class Line:
    """Straight from point to point.

    Attributes:
        kind: how it looks: words of the style sheet.
        points: places, as ``(x, y)``.
    """

    kind: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Dot:
    """A point with a note that shows where one points at it."""

    kind: str
    x: float
    y: float
    note: str


@dataclass(frozen=True)
class Bar:
    """A rectangle with a note, from its upper left corner."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    note: str


@dataclass(frozen=True)
class Chart:
    """A picture of lines.

    Attributes:
        title: what it shows.
        said: the same for those who do not see it.
        size: of the picture; lengths are CSS pixels at full width.
        area: left, top, right and bottom of what the axes enclose.
        x_ticks: along the lower edge.
        y_ticks: along the left edge.
        x_label: what is along x.
        y_label: what is along y.
        bars: behind all else.
        lines: before them.
        dots: in front.
        keys: what kinds of shapes mean.
    """

    title: str
    said: str
    size: tuple[float, float]
    area: tuple[float, float, float, float]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    x_label: str = ""
    y_label: str = ""
    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    keys: Mapping[str, str] = field(default_factory=dict)


WIDTH, ROW = 360.0, 46.0
BOX, JITTER = 20.0, (0.0, 5.0, -5.0, 2.5, -2.5)
WHISKER = 1.5
"""Whiskers end with the last case within this many quartile ranges of the box (Tukey)."""


def box_charts(cases: Mapping[str, ScoredCase]) -> list[Chart]:
    """One chart for each score that some case defines, a row for each class."""
    found = (_box_chart(cases, key) for key in SCORES)
    return [chart for chart in found if chart]


def _box_chart(cases: Mapping[str, ScoredCase], key: str) -> Chart | None:
    values = {
        name: {
            case: float(one.rows[name][key])
            for case, one in cases.items()
            if not math.isnan(one.rows[name][key])
        }
        for name in CLASSES
    }
    every = [value for of_class in values.values() for value in of_class.values()]
    if not every:
        return None
    area = (84.0, 8.0, WIDTH - 14, 8 + ROW * len(values))
    scale = scale_of(every, area[0], area[2], (0.0, 1.0) if key in SHARES else None)
    bars, lines, dots, ticks = [], [], [], []
    for row, (name, of_class) in enumerate(values.items()):
        middle = area[1] + ROW * (row + 0.5)
        ticks.append(Tick(middle, f"{name}, n {len(of_class)}"))
        if of_class:
            box = five_numbers([*of_class.values()])
            bars.append(_box(scale, box, name, middle))
            lines += _whiskers(scale, box, name, middle)
        for number, (case, value) in enumerate(of_class.items()):
            note = f"{case}: {shown(value, digits_of(key))}"
            dots.append(Dot(name, scale.at(value), middle + JITTER[number % len(JITTER)], note))
    title = name_of(key)
    return Chart(
        title=title,
        said=f"{title}: " + "; ".join(_said(name, row, key) for name, row in values.items()),
        size=(WIDTH, area[3] + 26),
        area=area,
        x_ticks=scale.ticks(),
        y_ticks=ticks,
        bars=bars,
        lines=lines,
        dots=dots,
    )


def five_numbers(values: Sequence[float]) -> tuple[float, float, float, float, float]:
    """Whisker, lower quartile, median, upper quartile, whisker."""
    known = np.asarray(values, float)
    q1, median, q3 = np.quantile(known, (0.25, 0.5, 0.75)).tolist()
    reach = WHISKER * (q3 - q1)
    inside = known[(known >= q1 - reach) & (known <= q3 + reach)]
    return float(inside.min()), q1, median, q3, float(inside.max())


def _box(scale: Scale, box: Sequence[float], name: str, middle: float) -> Bar:
    left, right = scale.at(box[1]), scale.at(box[3])
    return Bar(f"{name} box", left, middle - BOX / 2, right - left, BOX, "quartiles")


def _whiskers(scale: Scale, box: Sequence[float], name: str, middle: float) -> list[Line]:
    low, q1, median, q3, high = map(scale.at, box)
    upright = (middle - BOX / 2, middle + BOX / 2)
    return [
        Line(f"{name} whisker", [(low, middle), (q1, middle)]),
        Line(f"{name} whisker", [(q3, middle), (high, middle)]),
        Line(f"{name} median", [(median, y) for y in upright]),
    ]


def _said(name: str, values: Mapping[str, float], key: str) -> str:
    if not values:
        return f"{name} not defined in any case"
    low, q1, median, q3, high = (shown(v, digits_of(key)) for v in five_numbers([*values.values()]))
    return (
        f"{name} median {median}, quartiles {q1} to {q3}, whiskers {low} to {high}, n {len(values)}"
    )
