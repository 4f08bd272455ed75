"""The page as text: what stands where, and that it needs nothing from outside."""

import base64
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from builders import contract_of
from dyntransnet.contract import IntensityZScore
from dyntransnet.scoring.definitions import DEFINITIONS
from dyntransnet.scoring.report.page import page_of, write_page
from dyntransnet.scoring.summary import SCORES
from reports import cases_of, contents_of, model_of, picture

CARD = Path(__file__).parents[3] / "docs/model-card.md"
DASH = "\N{EN DASH}"


class Reader(HTMLParser):
    """Tables by caption, headings, pictures, and every address."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.words, self.pictures, self.addresses = [], [], []
        self._open, self._rows = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.addresses += [known[name] for name in ("src", "href") if name in known]
        if tag == "img":
            self.pictures.append(known)
        if tag in (
            "table",
            "tr",
            "td",
            "th",
            "caption",
            "h2",
            "h3",
            "p",
            "dd",
            "title",
            "style",
            "script",
        ):
            self._open.append(tag)
        if tag == "table":
            self._rows = []
        if tag == "tr":
            self._rows.append([])

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        where = self._open[-1] if self._open else ""
        if where in ("td", "th"):
            self._rows[-1].append(data)
        elif where == "caption":
            self.tables[data] = self._rows
        elif where not in ("style", "script"):
            self.words.append(data)

    def row(self, caption: str, *names: str) -> dict[str, str]:
        """The row of a table that begins with some cells, by the heads of its columns."""
        head, *rows = self.tables[caption]
        (found,) = [row for row in rows if tuple(row[: len(names)]) == names]
        return dict(zip(head, found, strict=True))


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(contents_of())


@pytest.fixture(scope="module")
def read(page) -> Reader:
    return Reader(page)


def test_every_score_has_its_mean_interval_and_n(read):
    summary = contents_of().summary.scores["tumor"]
    table = read.tables["Tumor: scores over patients"]
    assert [row[0] for row in table[1:]][:2] == ["Dice", "IoU"]
    assert len(table) == 1 + len(SCORES)
    dice, row = summary["dice"], read.row("Tumor: scores over patients", "Dice")
    assert row["Mean"] == f"{dice.mean:.3f}"
    assert row["95 % interval"] == f"{dice.low:.3f} to {dice.high:.3f}"
    assert (row["n"], row["Undefined"]) == ("6", "1")
    assert "NSD at 2 mm" in [each[0] for each in table]


def test_empty_masks_are_counted_apart(read):
    row = read.row("Cases, and those in which a mask is empty", "tumor")
    assert (row["Cases"], row["Scored"], row["Both empty"]) == ("7", "6", "1")


def test_each_case_has_a_row_for_each_class(read):
    caption = "Scores of every case; a dash stands where a score is not defined"
    assert len(read.tables[caption]) == 1 + 2 * 7
    expected = cases_of()["volume-2"].rows["tumor"]
    row = read.row(caption, "volume-2", "tumor")
    assert row["Dice"] == f"{expected['dice']:.3f}"
    assert row["Truth, ml"] == f"{expected['truth_ml']:.1f}"
    assert row["Lesions"] == str(expected["lesions_truth"])
    assert read.row(caption, "volume-6", "tumor")["Dice"] == DASH
    assert read.row(caption, "volume-2", "liver")["Lesions"] == DASH


def test_lesions_stand_by_size(read):
    table = read.tables["Lesions by diameter of the sphere of equal volume"]
    assert [row[0] for row in table[1:]] == ["All", "Below 10 mm", "10 to 20 mm", "Above 20 mm"]
    every = contents_of().summary.lesions["all"]
    assert table[1][1:5] == [
        str(n) for n in (every.truth, every.detected, every.predicted, every.false)
    ]
    low, high = every.intervals["recall"]
    assert table[1][5] == f"{every.recall:.3f} ({low:.3f} to {high:.3f})"


def test_every_definition_of_dice_stands_with_its_meaning(read):
    table = read.tables["Dice by definition"]
    assert {row[0]: row[-1] for row in table[1:]} == DEFINITIONS


def test_calibration_stands_with_its_interval_and_n(read):
    found = contents_of().calibration["liver"]
    row = read.row("Calibration of the probabilities", "liver")
    assert row["ECE"].startswith(f"{found.ece:.4f} (")
    assert (row["Voxels"], row["Cases"]) == (f"{7 * 240:,}", "7")


def test_the_dataset_is_described_as_its_fingerprint_has_it(read):
    seen = model_of().fingerprint
    row = read.row("Geometry, livers and tumors", "Spacing z, mm")
    assert (row["Lowest"], row["Median"], row["Highest"]) == ("4", "4", "4")
    row = read.row("Geometry, livers and tumors", "Liver, ml")
    assert float(row["Median"]) == pytest.approx(seen.liver_ml.median, rel=1e-3)
    assert float(read.row("Voxel values (HU)", "In the liver")["Mean"]) == seen.foreground.mean


def test_the_card_names_network_data_and_weights(page):
    for fact in ("dyntransnet_tiny, refine plain", "761,581", "400 steps, weights of step 300",
                 "a" * 64, "1" * 64, "c" * 64, "b" * 32, "window of -100 to 100 HU"):  # fmt: skip
        assert fact in page


def test_the_card_says_what_the_documents_say(read):
    said = _plain("".join(read.words))
    paragraphs = dict(re.findall(r"\*\*(.+?)\.\*\* (.+?)(?:\n\n|$)", CARD.read_text(), re.DOTALL))
    assert {"What it is", "What it is for", "How it is judged"} < paragraphs.keys()
    for name in ("What it is", "What it is for"):
        assert _plain(paragraphs[name]) in said
    for sentence in re.split(r"(?<=\.) (?=[A-Z])", _plain(paragraphs["How it is judged"])):
        if "docs/" not in sentence:
            assert sentence in said
    assert "It is not a medical device." in _plain(paragraphs["What it is not for"])
    assert "It is not a medical device." in said


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"[*`]", "", text)).strip()


def test_another_network_is_not_said_to_be_this_one():
    model = model_of(contract=contract_of())
    assert "Zheng" not in page_of(contents_of(model=model))


def test_an_mri_model_states_its_own_rule():
    rule = IntensityZScore(percentiles=(0.5, 99.5), deviations=3.0)
    model = model_of(contract=contract_of(modality="MR", intensity=rule))
    assert "clipped to its percentiles 0.5 to 99.5" in page_of(contents_of(model=model))


def test_pictures_are_in_the_page_and_have_words(read):
    (found,) = read.pictures
    assert found["src"] == f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    assert re.match("Axial, coronal and sagittal plane of volume-0, the worst case", found["alt"])
    assert "liver Dice 1.000" in found["alt"]


def test_every_chart_has_words(page):
    charts = re.findall(r"<svg [^>]*>", page)
    assert len(charts) == len(SCORES) + 1 + 4 + 2
    assert all(re.search(r'role="img" aria-label="[^"]{20,}"', chart) for chart in charts)


def test_nothing_is_fetched_from_anywhere(read, page):
    assert all(address.startswith(("data:", "#")) for address in read.addresses)
    assert not re.search(r"url\(|@import|https?://|<link rel=.stylesheet", page)


def test_links_lead_to_sections(read, page):
    targets = {address[1:] for address in read.addresses if address.startswith("#")}
    assert len(targets) == 10
    assert targets <= set(re.findall(r'<section id="(\w+)"', page))


def test_masks_alone_make_a_page_without_what_is_not_known():
    bare = contents_of(pictures=(), learning=None, calibration=None, model=None)
    page = page_of(bare)
    read = Reader(page)
    assert "Scores of two folders of masks" in page
    assert len(read.tables) == 6
    for absent in ("Calibration", "Model card", "Pictures", "Learning", "Dataset"):
        assert absent not in read.words


def test_a_model_without_a_fingerprint_says_so():
    page = page_of(contents_of(model=model_of(fingerprint=None)))
    assert "This model has no fingerprint of its dataset." in page


def test_few_patients_have_no_interval_and_are_said_to(page):
    few = page_of(contents_of(cases_of(3)))
    assert Reader(few).row("Liver: scores over patients", "Dice")["95 % interval"] == DASH
    assert "there is none below\n6 patients" in few


def test_nothing_undefined_is_shown_as_a_word(page):
    (case,) = cases_of(1).values()
    for row in case.rows.values():
        row |= dict.fromkeys(("dice", "hd95_mm", "nsd", "assd_mm"), math.nan)
    for text in (page, page_of(contents_of({"volume-0": case}))):
        assert not re.search(r"\b(nan|None|inf)\b", text.partition("<script>")[0])


def test_names_cannot_become_markup():
    (case,) = cases_of(1).values()
    cases = {"a<b>&\"'": case}
    page = page_of(contents_of(cases))
    assert "a<b>" not in page
    assert "a&lt;b&gt;&amp;&#34;&#39;" in page


def test_a_page_is_the_same_for_the_same_contents(tmp_path, page):
    write_page(contents_of(), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_one_case_is_one_case():
    page = page_of(contents_of(cases_of(1), model=None))
    assert "1 case\nof 1 patient. " in page
