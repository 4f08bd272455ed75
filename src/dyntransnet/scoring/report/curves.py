"""Charts of how a model learned, how sure it is, and which lesions it found."""

import math
from collections.abc import Mapping

from dyntransnet.scoring.calibration import Calibration, Reliability
from dyntransnet.scoring.lesions import ALL, LesionSummary
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.records import Curve
from dyntransnet.scoring.report.charts import Bar, Chart, Dot, Line
from dyntransnet.scoring.report.contents import Learning
from dyntransnet.scoring.report.scales import Scale, Tick, scale_of
from dyntransnet.scoring.report.words import name_of, shown

SIZE = (440.0, 260.0)
AREA = (52.0, 10.0, 426.0, 214.0)
SQUARE = (340.0, 326.0)
SQUARE_AREA = (52.0, 10.0, 326.0, 284.0)
LOW = (340.0, 146.0)
LOW_AREA = (52.0, 10.0, 326.0, 104.0)
SIZE_ROW, THICK = 54.0, 17.0


def learning_charts(learning: Learning) -> list[Chart]:
    """Training loss and validation Dice against the step."""
    dices = {f"dice_{name}": name for name in CLASSES}
    return [
        _against_step("Training loss", learning.losses, {"loss": "loss"}, None),
        _against_step("Validation Dice, whole volumes", learning.scores, dices, (0.0, 1.0)),
    ]


def _against_step(
    title: str, rows: Curve, kinds: Mapping[str, str], limits: tuple[float, float] | None
) -> Chart:
    points = {
        kind: [(row["step"], row[key]) for row in rows if key in row] for key, kind in kinds.items()
    }
    left, top, right, bottom = AREA
    x = scale_of([step for known in points.values() for step, _ in known], left, right)
    y = scale_of([value for known in points.values() for _, value in known], bottom, top, limits)
    last = [
        f"{kind} {shown(known[-1][1])} at step {known[-1][0]:g}"
        for kind, known in points.items()
        if known
    ]
    return Chart(
        title=title,
        said=f"{title}: " + ("; ".join(last) or "nothing was measured"),
        size=SIZE,
        area=AREA,
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        x_label="step",
        lines=[
            Line(kind, [(x.at(step), y.at(value)) for step, value in known])
            for kind, known in points.items()
            if known
        ],
        dots=[
            Dot(kind, x.at(step), y.at(value), f"step {step:g}: {kind} {shown(value)}")
            for kind, known in points.items()
            for step, value in known
        ],
        keys={kind: kind for kind in points} if len(points) > 1 else {},
    )


def reliability_charts(calibration: Mapping[str, Calibration]) -> list[tuple[Chart, Chart]]:
    """For each class the reliability diagram, and how many voxels are behind it."""
    return [(_diagram(name, one), _voxels(name, one.pooled)) for name, one in calibration.items()]


def _diagram(name: str, one: Calibration) -> Chart:
    left, top, right, bottom = SQUARE_AREA
    x, y = Scale(0.0, 1.0, left, right), Scale(0.0, 1.0, bottom, top)
    known = [(row["probability"], row["inside"], row["voxels"]) for row in one.pooled.rows()
             if row["voxels"]]  # fmt: skip
    return Chart(
        title=f"{name.capitalize()}: reliability",
        said=(
            f"Reliability of {name} probabilities: expected calibration error {shown(one.ece, 4)}, "
            f"{shown(one.pooled.n)} voxels"
        ),
        size=SQUARE,
        area=SQUARE_AREA,
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        x_label="mean probability",
        y_label="share inside",
        lines=[
            Line("ideal", [(x.at(0), y.at(0)), (x.at(1), y.at(1))]),
            Line(name, [(x.at(p), y.at(share)) for p, share, _ in known]),
        ],
        dots=[
            Dot(name, x.at(p), y.at(share),
                f"called {p:.3f}: {share:.3f} inside, {int(voxels):,} voxels")
            for p, share, voxels in known
        ],
        keys={name: name, "ideal": "perfect"},
    )  # fmt: skip


def _voxels(name: str, pooled: Reliability) -> Chart:
    left, top, right, bottom = LOW_AREA
    decades = max(1, math.ceil(math.log10(max(2, int(pooled.voxels.max())))))
    x, y = Scale(0.0, 1.0, left, right), Scale(0.0, float(decades), bottom, top)
    bars = []
    for row in pooled.rows():
        if row["voxels"]:
            start, height = x.at(row["low"]), y.at(math.log10(row["voxels"]))
            note = f"{row['low']:.2f} to {row['high']:.2f}: {int(row['voxels']):,} voxels"
            bars.append(
                Bar(name, start + 1, height - 1, x.at(row["high"]) - start - 2,
                    bottom - height + 1, note)
            )  # fmt: skip
    step = -(-decades // 4)
    return Chart(
        title=f"{name.capitalize()}: voxels behind it",
        said=f"Voxels in each bin of {name} probability, on a logarithmic scale",
        size=LOW,
        area=LOW_AREA,
        x_ticks=x.ticks(),
        y_ticks=[Tick(y.at(n), f"1e{n}" if n else "1") for n in range(0, decades + 1, step)],
        x_label="probability",
        bars=bars,
    )


def lesion_chart(lesions: Mapping[str, LesionSummary]) -> Chart:
    """By size: lesions of the truth found and missed, predicted ones right and false."""
    sizes = {size: one for size, one in lesions.items() if size != ALL}
    area = (142.0, 8.0, 450.0, 8 + SIZE_ROW * len(sizes))
    most = max([1, *(max(one.truth, one.predicted) for one in sizes.values())])
    x = scale_of([float(most)], area[0], area[2])
    bars: list[Bar] = []
    ticks = []
    for number, (size, one) in enumerate(sizes.items()):
        upper, lower = (area[1] + SIZE_ROW * (number + share) for share in (0.3, 0.7))
        ticks += [Tick(upper, f"{name_of(size)}: truth"), Tick(lower, "predicted")]
        bars += _stacked(x, upper, found=one.detected, missed=one.truth - one.detected)
        bars += _stacked(x, lower, right=one.predicted - one.false, false=one.false)
    said = [
        f"{name_of(size)}: {one.detected} of {one.truth} found, {one.false} of "
        f"{one.predicted} predicted ones false"
        for size, one in sizes.items()
    ]
    return Chart(
        title="Lesions of the truth, and predicted ones",
        said="; ".join(said),
        size=(464.0, area[3] + 42),
        area=area,
        x_ticks=[tick for tick in x.ticks() if "." not in tick.text],
        y_ticks=ticks,
        x_label="lesions",
        bars=bars,
        keys={"matched": "found, or right", "unmatched": "missed, or false"},
    )


def _stacked(x: Scale, middle: float, **parts: int) -> list[Bar]:
    """Those that match, and after them those that do not; a bar of nothing is left out."""
    bars, before = [], 0
    for kind, (meaning, count) in zip(("matched", "unmatched"), parts.items(), strict=True):
        start, end = x.at(before), x.at(before + count)
        if count:
            note = f"{count} {meaning}"
            bars.append(Bar(kind, start, middle - THICK / 2, end - start, THICK, note))
        before += count
    return bars
