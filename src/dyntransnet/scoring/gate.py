"""When a model may take another's place: no class may have become worse by more than a margin.

Non-inferiority, patient by patient: the difference that is judged is the lowest that the test
set leaves possible, not the one that was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.pairing import ROUNDING, Evaluation, Pairs, check_comparable, pair
from dyntransnet.scoring.parity import Parity
from dyntransnet.scoring.statistics import (
    LEAST_PATIENTS,
    Resampling,
    known_mean,
    mean_interval,
    per_patient,
)

DRAWS, SEED = 10_000, 0
"""Of the bootstrap: a verdict is the same whenever it is asked for."""


@dataclass(frozen=True)
class Rules:
    """What a candidate must keep.

    The section ``register`` of params.yaml, but for its names.

    Attributes:
        min_dice_liver: the least mean Dice; a class without a score has 0.
        min_dice_tumor: the same.
        margin: class to the largest fall of Dice that is put up with.
        confidence: of the lower bound, one-sided, in (0.5, 1).
        max_slowdown: seconds for a scan, as a multiple of the baseline's.
    """

    min_dice_liver: float
    min_dice_tumor: float
    margin: Mapping[str, float]
    confidence: float
    max_slowdown: float


@dataclass(frozen=True)
class Bound:
    """The lowest mean difference that patients leave possible.

    Attributes:
        low: that difference; candidate less baseline.
        patient: whose it is, where the worst patient is the bound; else None.
    """

    low: float
    patient: str | None = None


@dataclass(frozen=True)
class Finding:
    """One class under both models.

    Attributes:
        name: of the class.
        pairs: the cases.
        patients: how many patients these are of.
        baseline: mean Dice over patients; None where there is nothing to compare.
        candidate: the same.
        bound: the lowest difference that is possible; None where there is none.
        margin: how far the class may fall.
    """

    name: str
    pairs: Pairs
    patients: int
    baseline: float | None
    candidate: float | None
    bound: Bound | None
    margin: float

    @property
    def difference(self) -> float | None:
        """Mean over patients, candidate less baseline."""
        if self.baseline is None or self.candidate is None:
            return None
        return self.candidate - self.baseline

    @property
    def fell(self) -> bool:
        """Whether the class may have fallen by more than its margin."""
        return self.bound is not None and not self.bound.low >= -self.margin - ROUNDING


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes:
        findings: of each class; none where there is no baseline.
        rules: what was asked for.
        broken: one line for each broken rule; none means passed.
        parity: of the exported model; None where nobody asked.
        slowdown: seconds for a scan over the baseline's; None where nobody timed both.
    """

    findings: tuple[Finding, ...]
    rules: Rules
    broken: tuple[str, ...]
    parity: Parity | None
    slowdown: float | None

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return not self.broken


def judge(
    baseline: Evaluation | None,
    candidate: Evaluation,
    rules: Rules,
    *,
    patient_of: Mapping[str, str] | None = None,
    parity: Parity | None = None,
    slowdown: float | None = None,
) -> Verdict:
    """Hold a candidate against a baseline.

    Args:
        baseline: what it would replace; None where there is nothing yet.
        candidate: the new model's evaluation.
        rules: what it must keep.
        patient_of: case to patient; None takes each case for a patient of its own.
        parity: of the exported candidate, where it is asked for.
        slowdown: seconds for a scan over the baseline's, measured in one run.

    Raises:
        InputError: the two did not score the same cases against the same truth.
    """
    findings: tuple[Finding, ...] = ()
    if baseline is not None:
        check_comparable(baseline, candidate)
        owner = patient_of or {case: case for case in candidate.scores}
        findings = tuple(
            _finding(name, pair(baseline, candidate, name), owner, rules) for name in CLASSES
        )
    broken = [
        *_too_low(mean_dices(candidate), rules),
        *(_fall(finding, rules) for finding in findings if finding.fell),
        *(parity.broken if parity else ()),
        *_too_slow(slowdown, rules),
    ]
    return Verdict(findings, rules, tuple(broken), parity, slowdown)


def mean_dices(evaluation: Evaluation) -> dict[str, float | None]:
    """Mean Dice per class over the cases that define it; None where none does."""
    means = {
        name: known_mean([by_class[name]["dice"] for by_class in evaluation.scores.values()])
        for name in CLASSES
    }
    return {name: None if mean != mean else mean for name, mean in means.items()}


def lowest(differences: Mapping[str, float], confidence: float) -> Bound:
    """A lower confidence bound of the mean difference.

    Args:
        differences: patient to candidate less baseline; at least one.
        confidence: one-sided.

    Returns:
        From ``LEAST_PATIENTS`` on the bootstrap's (BCa, over patients). Below that the
        worst patient: of n patients that differ evenly about their mean, one lies below
        it in all but one of 2**n draws, so that four give 94 % and five 97 %.
    """
    values: Float[np.ndarray, " n"] = np.array([*differences.values()])
    worst = min(differences, key=lambda patient: differences[patient])
    # An interval leaves its share out at either end, the bound at one.
    how = Resampling(draws=DRAWS, confidence=2 * confidence - 1, seed=SEED)
    interval = mean_interval(values, how)
    if interval is None or np.isnan(interval[0]):
        return Bound(differences[worst], worst)
    return Bound(interval[0])


def _finding(name: str, pairs: Pairs, owner: Mapping[str, str], rules: Rules) -> Finding:
    before = per_patient([{one.case: one.baseline for one in pairs.compared}], owner)
    after = per_patient([{one.case: one.candidate for one in pairs.compared}], owner)
    differences = {patient: after[patient] - before[patient] for patient in after}
    if not differences:
        return Finding(name, pairs, 0, None, None, None, rules.margin[name])
    return Finding(
        name=name,
        pairs=pairs,
        patients=len(differences),
        baseline=known_mean([*before.values()]),
        candidate=known_mean([*after.values()]),
        bound=lowest(differences, rules.confidence),
        margin=rules.margin[name],
    )


def how_bound(finding: Finding, confidence: float) -> str:
    """Where a bound comes from, in words."""
    if finding.bound is None:
        return "no case to compare"
    if finding.bound.patient is not None:
        worst = f"in {finding.bound.patient}, the worst of {finding.patients}"
        return f"{worst} (below {LEAST_PATIENTS} patients the worst counts)"
    return f"at the lower {100 * confidence:g} % bound over {finding.patients} patients"


def _too_low(dices: Mapping[str, float | None], rules: Rules) -> list[str]:
    least = {"liver": rules.min_dice_liver, "tumor": rules.min_dice_tumor}
    return [
        f"Dice {name} must be at least {least[name]}, got {shown(dice)}"
        for name, dice in dices.items()
        if (dice or 0.0) < least[name]
    ]


def _fall(finding: Finding, rules: Rules) -> str:
    low = finding.bound.low if finding.bound else 0.0
    return (
        f"Dice {finding.name} must not fall by more than {finding.margin:g}, got "
        f"{shown(finding.baseline)} -> {shown(finding.candidate)} and {low:+.4f} "
        f"{how_bound(finding, rules.confidence)}"
    )


def _too_slow(slowdown: float | None, rules: Rules) -> Sequence[str]:
    if slowdown is None or slowdown <= rules.max_slowdown:
        return ()
    return (
        f"a scan must take at most {rules.max_slowdown:g} times the baseline's seconds, "
        f"got {slowdown:.2f}",
    )


def shown(dice: float | None) -> str:
    """A Dice for people."""
    return "no score" if dice is None else f"{dice:.4f}"
