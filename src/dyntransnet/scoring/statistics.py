"""What a set of patients allows one to say, and what it does not.

The patient is the unit: seeds, folds and scans of one patient are averaged first.
A test over slices, epochs or seeds would count one patient many times.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy import stats

LEAST_PATIENTS = 6
"""With five pairs no two-sided signed-rank test can fall below 0.05: 2 / 2**5 = 0.0625."""

Values = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Resampling:
    """How confidence intervals are drawn.

    Attributes:
        draws: bootstrap samples.
        confidence: share of intervals that would hold the true mean, in (0, 1).
        seed: of the draws.
    """

    draws: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Paired:
    """One variant against another on the same patients.

    Attributes:
        n: patients with a value under both.
        unpaired: patients with a value under one only; they enter no test.
        differ: patients whose two values are not equal; the others tell a test nothing.
        difference: mean of value - baseline; None where n is 0.
        p: Wilcoxon signed-rank, two-sided; None where it was not tested.
        p_holm: the same, corrected for the rows of its table.
        effect: matched-pairs rank-biserial correlation in [-1, 1], positive where the
            values are higher; None where there is no difference to rank.
        p_t: paired t-test, two-sided; None where it was not tested.
    """

    n: int
    unpaired: int
    differ: int
    difference: float | None
    p: float | None
    effect: float | None
    p_t: float | None
    p_holm: float | None = None


def per_patient(
    scores: Sequence[Mapping[str, float]], patient_of: Mapping[str, str]
) -> dict[str, float]:
    """Average repetitions of a case, then the cases of a patient.

    Args:
        scores: for each repetition (seed, fold), case id to value; NaN where it is not
            defined.
        patient_of: case id to patient.

    Returns:
        Patient to value, in order of name; NaN where no case of theirs defines it.
    """
    by_case: dict[str, list[float]] = {}
    for repetition in scores:
        for case, value in repetition.items():
            by_case.setdefault(case, []).append(value)
    by_patient: dict[str, list[float]] = {}
    for case, values in by_case.items():
        by_patient.setdefault(patient_of[case], []).append(known_mean(values))
    return {patient: known_mean(by_patient[patient]) for patient in sorted(by_patient)}


def known_mean(values: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN where none is left."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation (n - 1) of the values that are not NaN; None of fewer than two."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None


def mean_interval(values: Values, how: Resampling) -> tuple[float, float] | None:
    """Bootstrap confidence interval of a mean, bias-corrected and accelerated.

    Args:
        values: one per patient, none NaN.
        how: draws, confidence, seed.

    Returns:
        Low and high, the value twice where all are equal; None below
        ``LEAST_PATIENTS``, where resampling has too little to choose from.

    Source:
        Efron, J Am Stat Assoc 82(397), 1987, https://doi.org/10.1080/01621459.1987.10478410
    """
    if len(values) < LEAST_PATIENTS:
        return None
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=how.draws,
        confidence_level=how.confidence,
        method="BCa",
        vectorized=True,
        rng=np.random.default_rng(how.seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def pooled_intervals(
    sums: Float[np.ndarray, "patients *columns"],
    values_of: Callable[[Float[np.ndarray, "draws *columns"]], Float[np.ndarray, "draws values"]],
    how: Resampling,
) -> list[tuple[float, float] | None]:
    """Bootstrap confidence intervals of values that come from sums over all patients.

    A ratio of sums, as a recall over all lesions, is no mean over patients; whole
    patients are drawn all the same, with everything that is theirs.

    Args:
        sums: what each patient adds to every sum.
        values_of: values from sums, for many draws at once; NaN where not defined.
        how: draws, confidence, seed.

    Returns:
        For each value the percentiles of the draws that define it; None where none does,
        and below ``LEAST_PATIENTS``.
    """
    count = len(sums)
    drawn = np.random.default_rng(how.seed).multinomial(count, [1 / count] * count, how.draws)
    columns = values_of(np.tensordot(drawn.astype(float), sums, axes=1)).T
    tail = (1 - how.confidence) / 2
    known = [column[~np.isnan(column)] for column in columns]
    if count < LEAST_PATIENTS:
        return [None] * len(known)
    return [_ends(column, tail) if len(column) else None for column in known]


def _ends(values: Values, tail: float) -> tuple[float, float]:
    low, high = np.quantile(values, (tail, 1 - tail))
    return float(low), float(high)


def compare_paired(values: Mapping[str, float], baseline: Mapping[str, float]) -> Paired:
    """Test one variant against another, patient by patient.

    Args:
        values: patient to value; NaN where it is not defined.
        baseline: the same of the other variant.

    Returns:
        The tests are left out below ``LEAST_PATIENTS`` pairs that differ; the t-test
        also where all differences are equal.

    Source:
        Kerby, Compr Psychol 3, 2014, https://doi.org/10.2466/11.IT.3.1 (effect size)
    """
    patients = sorted(values.keys() | baseline.keys())
    nothing = math.nan
    pairs = [(values.get(name, nothing), baseline.get(name, nothing)) for name in patients]
    known = [not math.isnan(one) and not math.isnan(other) for one, other in pairs]
    gone = [math.isnan(one) and math.isnan(other) for one, other in pairs]
    differences = np.array(
        [one - other for (one, other), use in zip(pairs, known, strict=True) if use], float
    )
    differ = int(np.count_nonzero(differences))
    tested = differ >= LEAST_PATIENTS
    return Paired(
        n=sum(known),
        unpaired=len(pairs) - sum(known) - sum(gone),
        differ=differ,
        difference=float(differences.mean()) if len(differences) else None,
        p=float(stats.wilcoxon(differences).pvalue) if tested else None,
        effect=rank_biserial(differences),
        p_t=_t_test(differences) if tested else None,
    )


def rank_biserial(differences: Values) -> float | None:
    """Ranks of the positive less those of the negative differences, over all; zeros left out."""
    changed = differences[differences != 0]
    if not len(changed):
        return None
    ranks = stats.rankdata(np.abs(changed))
    return float((np.sign(changed) * ranks).sum() / ranks.sum())


def correct(tests: Sequence[Paired]) -> list[Paired]:
    """Set ``p_holm`` of the tests of one table's rows; what was not tested stays so."""
    corrected = holm([test.p for test in tests])
    return [replace(test, p_holm=p) for test, p in zip(tests, corrected, strict=True)]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction; None is no member of the family.

    Source:
        Holm, Scand J Stat 6(2), 1979, https://www.jstor.org/stable/4615733
    """
    family = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(family):
        highest = max(highest, min(1.0, (len(family) - rank) * p))
        corrected[index] = highest
    return corrected


def _t_test(differences: Values) -> float | None:
    if np.ptp(differences) <= _ROUNDING * np.abs(differences).max():
        return None
    return float(stats.ttest_1samp(differences, 0).pvalue)


_ROUNDING = 1e-9
"""Differences closer than this are equal: their spread is what floats left over."""
