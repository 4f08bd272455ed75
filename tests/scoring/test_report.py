import re

import numpy as np
import pytest

from builders import affine_of, case_of
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.metrics import score_case, summarize
from dyntransnet.scoring.records import CASE_COLUMNS
from dyntransnet.scoring.report import SUMMARY_COLUMNS, evaluation_page

SHAPE = (19, 24, 13)
NSD_MM = {"liver": 3.0, "tumor": 2.0}
EMPTY = Mask(np.zeros(SHAPE, np.uint8), affine_of(SHAPE))


@pytest.fixture
def page() -> str:
    _, mask = case_of()
    cases = {"volume-1": score_case(mask, mask, NSD_MM), "a<b": score_case(EMPTY, EMPTY, NSD_MM)}
    return evaluation_page(summarize(list(cases.values())), cases, ["figures/x&y.png"])


def rows_of(page: str, name: str) -> list[list[str]]:
    """Cells of every row that begins with a name."""
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", page)]
    return [cells for cells in rows if cells[:1] == [name]]


def test_each_case_has_a_row_for_each_class(page):
    assert [cells[1] for cells in rows_of(page, "volume-1")] == ["liver", "tumor"]
    assert "Evaluation on 2 test cases" in page


def test_scores_stand_under_their_heads(page):
    cells = dict(zip(["case", "class", *CASE_COLUMNS], rows_of(page, "volume-1")[0], strict=True))
    assert cells["dice"] == "1.000"
    assert cells["truth_ml"] == cells["predicted_ml"] != "0.000"


def test_undefined_scores_are_dashes_and_never_nan(page):
    assert rows_of(page, "a&lt;b")[0][2] == "\N{EN DASH}"
    assert not re.search(r"\bnan\b|\bNone\b", page)


def test_the_summary_counts_what_it_does_not_average(page):
    cells = dict(zip(["class", *SUMMARY_COLUMNS], rows_of(page, "liver")[0], strict=True))
    assert (cells["dice"], cells["scored"], cells["both_empty"]) == ("1.000", "1", "1")


def test_names_cannot_become_markup(page):
    assert "a<b" not in page
    assert 'src="figures/x&amp;y.png"' in page


def test_every_definition_of_dice_stands_on_the_page(page):
    assert rows_of(page, "dice_tumor_pooled")[0][1] == "1.000"
    assert len(rows_of(page, "dice_mean_with_bg")) == 1
