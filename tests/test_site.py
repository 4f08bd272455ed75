"""The documentation as a site: it builds, no link leads nowhere, nothing is fetched."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    finished = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"},
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    return out


def test_every_command_and_every_package_has_its_place(site):
    commands = (site / "commands.html").read_text()
    assert 'id="dyntransnet-segment"' in commands
    assert "--accurate" in commands
    reference = (site / "reference" / "dyntransnet.imaging.html").read_text()
    assert 'id="dyntransnet.imaging.segment.segment"' in reference
    assert "does not fit in memory" in reference  # what it raises


def test_links_of_the_repository_lead_to_pages(site):
    start = (site / "index.html").read_text()
    assert 'href="serving.html"' in start
    assert 'href="benchmarks.html"' in start
    assert "README.md" not in "".join(re.findall(r'href="([^"]*)"', start))
    assert (site / "images" / "preview.png").is_file()


def test_no_page_shows_markdown_that_was_not_understood(site):
    for page in site.rglob("*.html"):
        text = re.sub(r"(?s)<(code|pre|script|style)\b.*?</\1>", "", page.read_text())
        shown = re.sub(r"<[^>]+>", "", text)
        assert not re.search(r"\|-+\||```|\]\(", shown), page.name


def test_a_command_is_told_in_whole_sentences(site):
    text = (site / "commands.html").read_text()
    assert "Choose by patient who trains, validates and tests." in text
    assert not re.search(r"</a>: [^<]*\.\.\.</li>", text)


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = re.compile(
        r"""<(?:script|link|img)[^>]*(?:src|href)=["']?(?:https?:)?//([^"'/> ]+)"""
    )
    found = {host for page in site.rglob("*.html") for host in fetched.findall(page.read_text())}
    assert found == set()
