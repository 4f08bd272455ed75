import numpy as np
import pytest
from scipy import stats

from dyntransnet.scoring.definitions import DEFINITIONS, dice_definitions
from dyntransnet.scoring.statistics import Resampling, holm
from dyntransnet.scoring.study.comparison import (
    SCORES,
    compare_variants,
    define_dice,
    median_case,
)
from studies import NAN, scores_of, training_of

HOW = Resampling(draws=500, confidence=0.95, seed=7)
CASES = [f"c{number:02}" for number in range(12)]
ALONE = {case: case for case in CASES}


def dices(*, gain: float = 0.0, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Patients differ much, and by ``gain`` from the same patients without it."""
    rng = np.random.default_rng(1)
    patients = rng.uniform(0.3, 0.8, len(CASES))
    noise = np.random.default_rng(seed + 5).normal(0, 0.02, len(CASES))
    return {
        case: (0.9, float(value))
        for case, value in zip(CASES, patients + gain + noise, strict=True)
    }


def tumor_dice(found: dict[str, tuple[float, float]]) -> np.ndarray:
    return np.array([found[case][1] for case in CASES])


def compared(*trainings, variants=("base", "full", "less"), patient_of=ALONE):
    return compare_variants(trainings, variants, "base", patient_of, HOW)


def test_a_cell_holds_the_plain_statistics_of_its_patients():
    rows = compared(training_of("base", dices()), variants=("base",))
    cell, values = rows["base"]["tumor"]["dice"], tumor_dice(dices())
    assert cell.mean == pytest.approx(values.mean())
    assert cell.sd == pytest.approx(values.std(ddof=1))
    assert cell.low < cell.mean < cell.high
    assert (cell.n, cell.undefined, cell.seeds, cell.seed_sd) == (12, 0, 1, None)
    assert cell.against is None


def test_seeds_narrow_the_patients_spread_and_have_one_of_their_own():
    seeds = [dices(seed=seed) for seed in range(3)]
    rows = compared(
        *(training_of("base", one, seed=n) for n, one in enumerate(seeds)), variants=("base",)
    )
    cell, values = rows["base"]["tumor"]["dice"], np.array([tumor_dice(one) for one in seeds])
    assert cell.n == 12
    assert cell.sd == pytest.approx(values.mean(axis=0).std(ddof=1))
    assert cell.seed_sd == pytest.approx(values.mean(axis=1).std(ddof=1))


def test_folds_make_up_one_set_of_patients():
    parts = [dict(list(dices().items())[first::2]) for first in (0, 1)]
    rows = compared(
        *(training_of("base", part, fold=n) for n, part in enumerate(parts)), variants=("base",)
    )
    cell = rows["base"]["tumor"]["dice"]
    assert (cell.n, cell.seeds) == (12, 1)
    assert cell.mean == pytest.approx(tumor_dice(dices()).mean())


def test_rows_are_tested_against_the_baseline_and_corrected_together():
    full, less = dices(gain=0.04, seed=1), dices(gain=-0.01, seed=2)
    rows = compared(training_of("base", dices()), training_of("full", full),
                    training_of("less", less))  # fmt: skip
    tests = [rows[name]["tumor"]["dice"].against for name in ("full", "less")]
    expected = [stats.wilcoxon(tumor_dice(one), tumor_dice(dices())).pvalue for one in (full, less)]
    assert [test.p for test in tests] == pytest.approx(expected)
    assert [test.p_holm for test in tests] == pytest.approx(holm(expected))
    assert tests[0].effect > 0.8


def test_repeating_a_seed_proves_nothing_more():
    """Twenty copies of the same two trainings leave n and p as they are."""
    once = [training_of("base", dices()), training_of("full", dices(gain=0.02, seed=1))]
    copies = [
        training_of(run.variant, dices(gain=gain, seed=number), seed=copy)
        for number, (run, gain) in enumerate(zip(once, (0.0, 0.02), strict=True))
        for copy in range(20)
    ]
    one, many = (
        compared(*runs, variants=("base", "full"))["full"]["tumor"]["dice"].against
        for runs in (once, copies)
    )
    assert (one.n, one.p) == (many.n, pytest.approx(many.p))


def test_scans_of_one_patient_count_once():
    of_two = {case: f"p{number // 2}" for number, case in enumerate(CASES)}
    rows = compared(training_of("base", dices()), variants=("base",), patient_of=of_two)
    assert rows["base"]["tumor"]["dice"].n == 6


def test_a_class_that_no_case_has_is_empty_and_not_tested():
    healthy = dict.fromkeys(CASES, (0.9, NAN))
    rows = compared(training_of("base", healthy), training_of("full", healthy),
                    variants=("base", "full"))  # fmt: skip
    for score in SCORES:
        cell = rows["full"]["tumor"][score]
        assert (cell.mean, cell.sd, cell.low, cell.n, cell.undefined) == (None, None, None, 0, 12)
        assert (cell.against.n, cell.against.p) == (0, None)


def test_undefined_scores_are_counted_over_all_seeds():
    gaps = dices() | {"c03": (0.9, NAN)}
    rows = compared(
        training_of("base", dices(), seed=1), training_of("base", gaps, seed=2), variants=("base",)
    )
    cell = rows["base"]["tumor"]["hd95_mm"]
    assert (cell.n, cell.undefined) == (12, 1)


def test_definitions_are_averaged_over_seeds():
    seeds = [dices(seed=seed) for seed in range(3)]
    trainings = [training_of("base", one, seed=n) for n, one in enumerate(seeds)]
    found = define_dice([*trainings, training_of("full", dices(gain=0.1))], "base")
    every = [dice_definitions([*scores_of(one).values()]) for one in seeds]
    for name in DEFINITIONS:
        values = [one[name] for one in every]
        assert found[name] == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_definitions_pool_the_folds_of_a_seed():
    parts = [{"a": (0.9, 0.2)}, {"b": (0.9, 0.8), "c": (0.9, 0.8)}]
    found = define_dice([training_of("base", p, fold=n) for n, p in enumerate(parts)], "base")
    assert found["dice_tumor_case"] == (pytest.approx(0.6), None)
    assert found["dice_tumor_detected"] == (pytest.approx(0.8), None)


def test_the_case_shown_is_the_median_of_tumors_over_all_seeds():
    seeds = [
        {"a": (0.5, 0.1), "b": (0.9, 0.9), "c": (0.6, 0.3), "d": (0.7, NAN)},
        {"a": (0.5, 0.7), "b": (0.9, 0.9), "c": (0.6, 0.3), "d": (0.7, NAN)},
    ]
    trainings = [training_of("base", one, seed=n) for n, one in enumerate(seeds)]
    assert median_case(trainings[:1]) == "c"
    assert median_case(trainings) == "a"


def test_without_tumors_the_liver_chooses_the_case():
    dices = {"a": (0.5, NAN), "b": (0.9, NAN), "c": (0.6, NAN), "d": (0.7, NAN)}
    assert median_case([training_of("base", dices)]) == "c"
