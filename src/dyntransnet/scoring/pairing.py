"""Two evaluations of the same cases, side by side; what cannot be compared is named."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dyntransnet.errors import InputError
from dyntransnet.scoring.overlap import CLASSES, Row
from dyntransnet.scoring.records import CASES_FILE, read_cases

TEST_SET_FILE = "test_set.json"

NEEDED = ("dice", "truth_ml", "truth_voxels", "predicted_voxels")
"""Columns of cases.csv that a comparison reads."""

LISTED = 5
"""Problems that a message names; of the others it gives the number."""

ROUNDING = 2e-6
"""Numbers that differ by less were written from the same one: files have six decimals."""

Scores = Mapping[str, Mapping[str, Row]]
"""Case to class to what ``score_case`` gives."""


@dataclass(frozen=True)
class Evaluation:
    """What one model scored.

    Attributes:
        scores: of each case.
        test_set: hash of the scans and masks; None where nobody noted it.
    """

    scores: Scores
    test_set: str | None = None


@dataclass(frozen=True)
class Pair:
    """The Dice of one case and class under both.

    Where the truth is empty, a mask that is empty too counts 1, so that a new false
    alarm is a loss and one that is gone a gain.
    """

    case: str
    baseline: float
    candidate: float

    @property
    def difference(self) -> float:
        """What the case gained."""
        return self.candidate - self.baseline


@dataclass(frozen=True)
class Pairs:
    """All cases of one class.

    Attributes:
        compared: cases where at least one side has a Dice.
        empty: cases without the class in truth and both predictions; nothing to compare.
        alarms: cases where the truth is empty and only the candidate marks something.
    """

    compared: tuple[Pair, ...]
    empty: tuple[str, ...]
    alarms: tuple[str, ...]


def read_evaluation(path: Path) -> Evaluation:
    """Read what ``evaluate`` or ``score`` wrote.

    Args:
        path: its folder, or the cases.csv alone.

    Raises:
        InputError: the file is missing or no table of scores.
    """
    if not path.is_dir():
        return Evaluation(read_cases(path, NEEDED))
    return Evaluation(read_cases(path / CASES_FILE, NEEDED), _test_set(path / TEST_SET_FILE))


def check_comparable(baseline: Evaluation, candidate: Evaluation) -> None:
    """Make sure that both scored the same cases against the same truth.

    Raises:
        InputError: they did not; nothing is left out of a comparison in silence.
    """
    if problems := [*_problems(baseline, candidate)]:
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise InputError(f"gate: {'; '.join(problems[:LISTED])}{more}")


def pair(baseline: Evaluation, candidate: Evaluation, name: str) -> Pairs:
    """Set the Dice of one class side by side, case by case."""
    compared, empty, alarms = [], [], []
    for case in sorted(candidate.scores):
        before, after = (side.scores[case][name]["dice"] for side in (baseline, candidate))
        if math.isnan(before) and math.isnan(after):
            empty.append(case)
            continue
        if math.isnan(before):
            alarms.append(case)
        one, other = (1.0 if math.isnan(dice) else float(dice) for dice in (before, after))
        compared.append(Pair(case, one, other))
    return Pairs(tuple(compared), tuple(empty), tuple(alarms))


def _test_set(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: must be JSON with the test set's sha256, got {type(error).__name__}"
        ) from error


def _problems(baseline: Evaluation, candidate: Evaluation) -> Iterator[str]:
    """One line for each reason that two evaluations cannot be compared."""
    ours, theirs = candidate.scores, baseline.scores
    if not ours and not theirs:
        yield "there must be cases to compare, got none"
    for case in sorted(ours.keys() ^ theirs.keys()):
        where = "baseline" if case in theirs else "candidate"
        yield f"both must have scored the same cases, got {case} in the {where} only"
    for case in sorted(ours.keys() & theirs.keys()):
        yield from _case_problems(case, theirs[case], ours[case])
    known = {side.test_set for side in (baseline, candidate) if side.test_set}
    if len(known) > 1:
        shown = " and ".join(str(side.test_set)[:12] for side in (baseline, candidate))
        yield f"both must have scored one test set, got {shown}"


def _case_problems(case: str, theirs: Mapping[str, Row], ours: Mapping[str, Row]) -> Iterator[str]:
    for name in CLASSES:
        if absent := [
            side
            for side, scores in (("baseline", theirs), ("candidate", ours))
            if name not in scores
        ]:
            yield f"{case}: {name} must be scored by both, got none in the {absent[0]}"
            continue
        for side, row in (("baseline", theirs[name]), ("candidate", ours[name])):
            if not _is_sound(row):
                yield (
                    f"{case}: {name} Dice must be in [0, 1] where a mask has voxels, and empty "
                    f"where none has, got {row['dice']} in the {side}"
                )
        if not _same_truth(theirs[name], ours[name]):
            shown = (
                f"{row['truth_voxels']:g} voxels ({row['truth_ml']:g} ml)"
                for row in (theirs[name], ours[name])
            )
            yield f"{case}: the truth of {name} must be one, got {' and '.join(shown)}"


def _is_sound(row: Row) -> bool:
    """Whether there is a Dice just where one is defined."""
    if row["truth_voxels"] + row["predicted_voxels"] == 0:
        return math.isnan(row["dice"])
    return 0 <= row["dice"] <= 1


def _same_truth(one: Row, other: Row) -> bool:
    return one["truth_voxels"] == other["truth_voxels"] and math.isclose(
        one["truth_ml"], other["truth_ml"], rel_tol=ROUNDING, abs_tol=ROUNDING
    )
