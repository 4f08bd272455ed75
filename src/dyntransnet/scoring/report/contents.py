"""All that a page may show; what is None has no section."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dyntransnet.contract import Contract
from dyntransnet.imaging.fingerprint import Fingerprint
from dyntransnet.scoring.calibration import Calibration
from dyntransnet.scoring.metrics import ScoredCase
from dyntransnet.scoring.records import Curve
from dyntransnet.scoring.summary import Summary


@dataclass(frozen=True)
class Picture:
    """One case, drawn.

    Attributes:
        case: its id.
        rank: why it was chosen.
        dices: class to Dice; NaN where not defined.
        png: the file's bytes.
    """

    case: str
    rank: str
    dices: Mapping[str, float]
    png: bytes


@dataclass(frozen=True)
class Learning:
    """The curves of a training.

    Attributes:
        losses: rows with ``step`` and ``loss``.
        scores: rows with ``step`` and, where it is defined, ``dice_<class>``.
    """

    losses: Curve
    scores: Curve


@dataclass(frozen=True)
class Model:
    """Who answered.

    Attributes:
        contract: what it promises.
        facts: what its training says of itself.
        fingerprint: of the dataset it learned from, where it is known.
        test_set_sha256: names the cases it was scored on.
    """

    contract: Contract
    facts: Mapping[str, Any]
    fingerprint: Fingerprint | None
    test_set_sha256: str


@dataclass(frozen=True)
class Contents:
    """A page before it is written.

    Attributes:
        cases: case id to its scores, surfaces included.
        summary: of these cases.
        nsd_mm: per class the tolerance of the surface Dice.
        pictures: some of the cases, the worst first.
        learning: how the model learned.
        calibration: per class.
        model: who answered.
    """

    cases: Mapping[str, ScoredCase]
    summary: Summary
    nsd_mm: Mapping[str, float]
    pictures: Sequence[Picture] = ()
    learning: Learning | None = None
    calibration: Mapping[str, Calibration] | None = None
    model: Model | None = None


def choose_cases(dices: Mapping[str, Sequence[float]], count: int) -> dict[str, str]:
    """Which cases are drawn: the worst, best and median one, then the next worst.

    Args:
        dices: case id to the Dice of each class; NaN where not defined. A case counts by
            its mean; one in which nothing is defined had nothing to miss, and counts as 1.
        count: how many.

    Returns:
        Case id to its rank in words, the worst first.
    """
    ranked = sorted(dices, key=lambda case: (_mean(dices[case]), case))
    if not ranked:
        return {}
    last = len(ranked) - 1
    wanted = dict.fromkeys((0, last, last // 2, *range(last)))
    names = {last // 2: "median", last: "best", 0: "worst" if last else "only"}
    chosen = sorted([*wanted][:count])
    return {ranked[at]: f"{names.get(at, f'{_nth(at + 1)} worst')} case" for at in chosen}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else 1.0


def _nth(number: int) -> str:
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
