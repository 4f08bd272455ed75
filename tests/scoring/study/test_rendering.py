import csv
import io
import re

import pytest

from dyntransnet.scoring.definitions import DEFINITIONS
from dyntransnet.scoring.statistics import Paired
from dyntransnet.scoring.study.comparison import SCORES, Cell
from dyntransnet.scoring.study.rendering import (
    definitions_csv,
    definitions_table,
    reported_table,
    study_csv,
    study_tables,
)
from dyntransnet.scoring.study.tables import Table, to_csv, to_latex, to_markdown

PAIRED = Paired(20, 0, 20, 0.03, 0.004, 0.71, 0.011, 0.008)


def cell(**changes) -> Cell:
    values = {
        "mean": 0.8612, "sd": 0.034, "low": 0.8401, "high": 0.8777, "n": 20, "undefined": 0,
        "seeds": 3, "seed_sd": 0.0044, "against": PAIRED,
    }  # fmt: skip
    return Cell(**values | changes)


def rows_of(one: Cell) -> dict:
    """The same in every place of the row "full"."""
    baseline = cell(against=None)
    return {
        variant: {name: dict.fromkeys(SCORES, shown) for name in ("liver", "tumor")}
        for variant, shown in (("base", baseline), ("full", one))
    }


def shown(one: Cell, part: int) -> list[str]:
    """The row "full" of the liver: 0 scores, 1 tests, 2 seeds."""
    tables = study_tables("T", rows_of(one), "base", confidence=0.95, nsd_mm={"liver": 3.0})
    return tables[part].rows[1]


def test_scores_are_percent_and_distances_millimeters():
    row = shown(cell(), 0)
    assert row[:2] == ["full", "86.12 ± 3.40 [84.01, 87.77], n 20"]
    assert row[4] == "0.86 ± 0.03 [0.84, 0.88], n 20"


def test_a_test_shows_its_p_its_effect_and_its_n():
    assert shown(cell(), 1)[1] == "p 0.008, r +0.71, t 0.011, n 20"


def test_a_baseline_is_tested_against_nothing():
    assert shown(cell(against=None), 1)[1] == "baseline"


def test_a_tiny_p_is_not_0():
    tiny = Paired(60, 2, 60, 0.1, 1e-9, 1.0, 0.0, 1e-8)
    assert shown(cell(against=tiny), 1)[1] == "p <0.001, r +1.00, t <0.001, n 60 (2 unpaired)"


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (Paired(4, 0, 4, 0.1, None, 1.0, None), "not tested (n = 4)"),
        (Paired(0, 0, 0, None, None, None, None), "not tested (n = 0)"),
        (Paired(20, 0, 0, 0.0, None, None, None), "not tested (n = 20, 0 differ)"),
        (Paired(20, 0, 3, 0.1, None, 1.0, None), "not tested (n = 20, 3 differ)"),
    ],
)
def test_what_was_not_tested_says_so_and_shows_no_number_like_a_p(test, expected):
    assert shown(cell(against=test), 1)[1] == expected
    head, rows = study_csv(rows_of(cell(against=test)))
    (_, full) = csv.DictReader(io.StringIO(to_csv(head, rows)))
    for name in ("p", "p_holm", "p_t"):
        assert full[f"tumor_dice_test_{name}"] == expected


def test_few_patients_have_no_interval_and_none_no_mean():
    few = cell(low=None, high=None, n=4, undefined=2)
    assert shown(few, 0)[1] == "86.12 ± 3.40, n 4 (2 undefined)"
    none = cell(mean=None, sd=None, low=None, high=None, n=0, undefined=60)
    assert shown(none, 0)[1] == "not defined (n = 0) (60 undefined)"


def test_seeds_stand_apart():
    assert shown(cell(), 2)[1] == "0.44 (3 seeds)"
    assert shown(cell(seeds=1, seed_sd=None), 2)[1] == "\N{EN DASH} (1 seed)"


def test_heads_name_the_tolerance_that_is_known():
    tables = study_tables("T", rows_of(cell()), "base", confidence=0.9, nsd_mm={"liver": 3.0})
    assert tables[0].head[-1] == "NSD % at 3 mm"
    assert tables[3].head[-1] == "NSD %"
    assert "[90 % bootstrap interval" in tables[0].note


def test_csv_has_one_row_per_variant_and_keeps_fractions():
    head, rows = study_csv(rows_of(cell()))
    base, full = csv.DictReader(io.StringIO(to_csv(head, rows)))
    assert (base["variant"], full["variant"]) == ("base", "full")
    assert full["liver_dice_mean"] == "0.8612"
    assert full["tumor_hd95_mm_seed_sd"] == "0.0044"
    assert full["liver_nsd_test_p_holm"] == "0.008"
    assert base["liver_nsd_test_p_holm"] == ""


def test_definitions_are_percent_for_people_and_fractions_in_csv():
    values = dict.fromkeys(DEFINITIONS, (0.5, 0.01))
    defined = {"full": values | {"dice_tumor_detected": (None, None)}}
    table = definitions_table(defined)
    assert table.rows[0][1] == "50.00 ± 1.00"
    assert table.rows[0][table.head.index("dice_tumor_detected")] == "not defined"
    (row,) = csv.DictReader(io.StringIO(to_csv(*definitions_csv(defined))))
    assert (row["dice_liver"], row["dice_liver_seed_sd"]) == ("0.5", "0.01")
    assert row["dice_tumor_detected"] == ""


def test_the_papers_rows_are_marked_as_such():
    table = reported_table({"full": "DynTransNet", "less": "LightM-UNet"})
    assert table.title == "Reported, definition not stated"
    assert [row[:4] for row in table.rows][-1] == ["less", "LightM-UNet", "Table 5", "LiTS"]
    (atlas,) = (row for row in table.rows if row[2:4] == ["Table 3", "ATLAS"])
    assert atlas[4:7] == ["86.12", "0.36", "85.90 to 86.34"]
    (lits,) = (row for row in table.rows if row[1:3] == ["DynTransNet", "Table 5"])
    assert lits[7:9] == ["94.05", "92.25"]


TABLE = Table("A & B", ["", "Dice %"], [["dice_bce", "0.9 ± 0.1"], ["a|b", "<0.001"]], "50 %.")


def test_markdown_has_as_many_cells_in_every_line():
    lines = [line for line in to_markdown([TABLE]).splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {4}
    assert "## A & B\n" in to_markdown([TABLE])


def test_latex_escapes_what_would_be_a_command():
    text = to_latex([TABLE])
    assert r"\caption{A \& B. 50 \%.}" in text
    assert r"dice\_bce & 0.9 $\pm$ 0.1 \\" in text
    assert r"a|b & $<$0.001 \\" in text


def test_latex_rows_have_as_many_cells_as_columns():
    text = to_latex(study_tables("T", rows_of(cell()), "base", confidence=0.95, nsd_mm={}))
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 6 * 3
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {5}
    assert text.count(r"\begin{tabular}{lrrrrr}") == 6
