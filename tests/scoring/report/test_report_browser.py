"""The page in a real browser: one is started for all tests here."""

import pytest

from browser import NAMES, Page, find_browser, open_page
from dyntransnet.scoring.report.page import write_page
from reports import cases_of, contents_of

COLUMN = """[...document.querySelectorAll('#cases tbody tr')].filter(row => !row.hidden)
    .map(row => row.cells[%d].textContent)"""
HEAD = "document.querySelectorAll('#cases thead th')[%d]"
DICE = 2


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if (browser := find_browser()) is None:
        pytest.skip(f"needs a browser, one of {', '.join(NAMES)}")
    folder = tmp_path_factory.mktemp("report")
    write_page(contents_of(), folder / "report.html")
    with open_page(browser, folder / "report.html", folder / "profile") as opened:
        yield opened


def test_no_error_is_reported_and_only_the_file_is_read(page: Page):
    assert page.value_of("document.querySelectorAll('section').length") == 10
    assert page.problems() == []
    asked = {url for url in page.requested() if not url.startswith("data:")}
    assert {url.partition(":")[0] for url in asked} == {"file"}
    assert len(asked) == 1


def test_every_picture_loads(page: Page):
    widths = page.value_of("[...document.images].map(each => each.naturalWidth)")
    assert widths == [9]


def test_a_click_sorts_and_a_second_one_turns_the_order(page: Page):
    for order in ("ascending", "descending"):
        page.value_of(f"{HEAD % DICE}.querySelector('button').click()")
        cells = page.value_of(COLUMN % DICE)
        assert page.value_of(f"{HEAD % DICE}.getAttribute('aria-sort')") == order
        numbers = [float(cell) for cell in cells[:-1]]
        assert numbers == sorted(numbers, reverse=order == "descending")
        assert len({*numbers}) > 5
        assert cells[-1] == "\N{EN DASH}"  # what is not defined stays last


def test_the_keyboard_sorts_too_and_names_sort_as_numbers(page: Page):
    page.value_of(f"{HEAD % 0}.querySelector('button').focus()")
    page.press("Enter")
    assert page.value_of(f"{HEAD % 0}.getAttribute('aria-sort')") == "ascending"
    assert page.value_of(f"{HEAD % DICE}.getAttribute('aria-sort')") == "none"
    assert page.value_of(COLUMN % 0) == [case for case in cases_of() for _ in range(2)]
    assert "Sorted by Case, lowest first" in page.value_of("sorted.textContent")


def test_one_class_can_be_looked_at_alone(page: Page):
    page.value_of("classes.value = 'tumor'; classes.dispatchEvent(new Event('change'))")
    assert page.value_of(COLUMN % 1) == ["tumor"] * 7
    page.value_of("classes.value = ''; classes.dispatchEvent(new Event('change'))")
    assert len(page.value_of(COLUMN % 1)) == 14


def test_a_phone_shows_it_without_scrolling_sideways(page: Page):
    page.ask("Emulation.setDeviceMetricsOverride",
             width=360, height=740, deviceScaleFactor=2, mobile=True)  # fmt: skip
    assert page.value_of("document.documentElement.scrollWidth") == 360
    page.ask("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page: Page, scheme):
    page.ask("Emulation.setEmulatedMedia",
             features=[{"name": "prefers-color-scheme", "value": scheme}])  # fmt: skip
    behind = _luminance(page, "document.body", "backgroundColor")
    assert (behind < 0.1) == (scheme == "dark")
    for selector in ("p", ".lead", "td", "nav a", "thead button"):
        text = _luminance(page, f"document.querySelector('{selector}')", "color")
        high, low = max(text, behind), min(text, behind)
        assert (high + 0.05) / (low + 0.05) > 4.5  # WCAG 2.2, level AA


def _luminance(page: Page, element: str, name: str) -> float:
    """Relative luminance of a color.

    Source:
        WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
    """
    text = page.value_of(f"getComputedStyle({element}).{name}")
    shares = [int(part) / 255 for part in text.strip("rgb()").split(",")]
    parts = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares
    ]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), parts, strict=True))
