"""A study's numbers as tables: percent for people, fractions in CSV."""

from collections.abc import Callable, Iterator, Mapping

from dyntransnet.scoring.definitions import DEFINITIONS
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.statistics import LEAST_PATIENTS, Paired
from dyntransnet.scoring.study.comparison import SCORES, Cell, Cells
from dyntransnet.scoring.study.reported import rows_named
from dyntransnet.scoring.study.tables import Table

HEADS = {
    "dice": "Dice %",
    "precision": "Precision %",
    "recall": "Recall %",
    "hd95_mm": "HD95 mm",
    "nsd": "NSD %",
}
"""NSD: share of the surfaces within the tolerance of each other."""

NOTHING = "\N{EN DASH}"
NOT_DEFINED = "not defined (n = 0)"
CELL_VALUES = ("mean", "sd", "low", "high", "n", "undefined", "seeds", "seed_sd")
TEST_VALUES = ("difference", "p", "p_holm", "effect", "p_t", "n", "unpaired", "differ")
TESTED = ("p", "p_holm", "p_t")

Definitions = Mapping[str, Mapping[str, tuple[float | None, float | None]]]
"""Variant to definition to mean and deviation over seeds."""


def study_tables(
    title: str,
    rows: Mapping[str, Cells],
    baseline: str,
    *,
    confidence: float,
    nsd_mm: Mapping[str, float],
) -> list[Table]:
    """Scores, tests and spread over seeds, class by class, one row per variant.

    Args:
        title: of the table.
        rows: variant to its row, as ``compare_variants`` gives them.
        baseline: the row that the others were tested against.
        confidence: of the intervals.
        nsd_mm: class to the tolerance of NSD, where it is known.
    """
    tables = []
    for name in CLASSES:
        head = ["", *HEADS.values()]
        if name in nsd_mm:
            head[-1] += f" at {nsd_mm[name]:g} mm"
        tables += [
            Table(
                f"{title}: {name}",
                head,
                _rows(rows, name, _score),
                _SCORES.format(100 * confidence, LEAST_PATIENTS),
            ),
            Table(f"{title}: {name}, against {baseline}", head, _rows(rows, name, _test), _TESTS),
            Table(
                f"{title}: {name}, standard deviation over seeds",
                head,
                _rows(rows, name, _spread),
                _SPREAD,
            ),
        ]
    return tables


_SCORES = (
    "Mean ± standard deviation over patients [{:g} % bootstrap interval of the mean], n "
    "patients. Seeds, folds and scans of a patient are averaged first. Below {} patients there "
    "is no interval. Undefined: single scores without a value, part of no mean."
)
_TESTS = (
    "p: Wilcoxon signed-rank over patients, two-sided, corrected by Holm over the rows of a "
    "column. r: matched-pairs rank-biserial correlation, positive where the value is higher. "
    "t: p of the paired t-test, not corrected. n: patients with a value under both."
)
_SPREAD = "Of the means over patients, each over all seeds; says nothing about other patients."


def _rows(
    rows: Mapping[str, Cells], name: str, shown: Callable[[Cell, str], str]
) -> list[list[str]]:
    return [
        [variant, *(shown(cells[name][score], score) for score in SCORES)]
        for variant, cells in rows.items()
    ]


def study_csv(rows: Mapping[str, Cells]) -> tuple[list[str], list[list[object]]]:
    """Head and rows, one per variant; shares are fractions, what was not tested says so."""
    head = ["variant"] + [
        f"{name}_{score}_{prefix}{value}"
        for name in CLASSES
        for score in SCORES
        for prefix, values in (("", CELL_VALUES), ("test_", TEST_VALUES))
        for value in values
    ]
    return head, [[variant, *_csv_values(cells)] for variant, cells in rows.items()]


def definitions_table(defined: Definitions) -> Table:
    """The seven Dice of every variant."""
    return Table(
        "Dice by seven definitions, %",
        ["", *DEFINITIONS],
        [
            [variant, *(_mean_and_spread(*values[name], 100.0) for name in DEFINITIONS)]
            for variant, values in defined.items()
        ],
        "Mean ± standard deviation over seeds. "
        + " ".join(f"{name}: {meaning}." for name, meaning in DEFINITIONS.items()),
    )


def definitions_csv(defined: Definitions) -> tuple[list[str], list[list[object]]]:
    """Head and rows; fractions."""
    head = ["variant", *(f"{n}{suffix}" for n in DEFINITIONS for suffix in ("", "_seed_sd"))]
    return head, [
        [variant, *(value for name in DEFINITIONS for value in values[name])]
        for variant, values in defined.items()
    ]


def reported_table(names: Mapping[str, str]) -> Table:
    """What the paper prints for these variants.

    Args:
        names: variant to the paper's name of it.
    """
    return Table(
        "Reported, definition not stated",
        ["", "in the paper", "table", "data", "Dice", "±", "95 % CI", "Precision", "Recall", "p"],
        [
            [
                variant, row.row, row.table, row.dataset, _given(row.dice), _given(row.spread),
                f"{row.low:.2f} to {row.high:.2f}" if row.low is not None else NOTHING,
                _given(row.precision), _given(row.recall), row.p or NOTHING,
            ]
            for variant, name in names.items()
            for row in rows_named(name)
        ],
        "As the paper's text prints them. Which Dice, over what the ± goes, and the split "
        "are not stated: these numbers stand beside no column of ours.",
    )  # fmt: skip


def _score(cell: Cell, score: str) -> str:
    gone = f" ({cell.undefined} undefined)" if cell.undefined else ""
    if cell.mean is None:
        return f"{NOT_DEFINED}{gone}"
    scale = _scale(score)
    interval = (
        f" [{scale * cell.low:.2f}, {scale * cell.high:.2f}]"
        if cell.low is not None and cell.high is not None
        else ""
    )
    return f"{_mean_and_spread(cell.mean, cell.sd, scale)}{interval}, n {cell.n}{gone}"


def _test(cell: Cell, score: str) -> str:
    test = cell.against
    if test is None:
        return "baseline"
    if test.p is None:
        return _untested(test)
    left = f" ({test.unpaired} unpaired)" if test.unpaired else ""
    t = NOTHING if test.p_t is None else _p(test.p_t)
    return f"p {_p(test.p_holm)}, r {test.effect:+.2f}, t {t}, n {test.n}{left}"


def _untested(test: Paired) -> str:
    why = f", {test.differ} differ" if test.n >= LEAST_PATIENTS else ""
    return f"not tested (n = {test.n}{why})"


def _spread(cell: Cell, score: str) -> str:
    seeds = f"{cell.seeds} seed{'s' if cell.seeds != 1 else ''}"
    if cell.seed_sd is None:
        return f"{NOTHING} ({seeds})"
    return f"{_scale(score) * cell.seed_sd:.2f} ({seeds})"


def _csv_values(cells: Cells) -> Iterator[object]:
    for name in CLASSES:
        for score in SCORES:
            cell = cells[name][score]
            yield from (getattr(cell, value) for value in CELL_VALUES)
            yield from (_csv_test(cell.against, value) for value in TEST_VALUES)


def _csv_test(test: Paired | None, value: str) -> object:
    if test is None:
        return None
    found: object = getattr(test, value)
    return _untested(test) if found is None and value in TESTED else found


def _mean_and_spread(mean: float | None, sd: float | None, scale: float) -> str:
    if mean is None:
        return "not defined"
    return f"{scale * mean:.2f}" + (f" ± {scale * sd:.2f}" if sd is not None else "")


def _scale(score: str) -> float:
    return 1.0 if score.endswith("_mm") else 100.0


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _given(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
