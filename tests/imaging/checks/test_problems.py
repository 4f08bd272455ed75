import re
from pathlib import Path

import pytest

import dyntransnet
from dyntransnet.errors import ScanError
from dyntransnet.imaging.checks.problems import RULES, Problem, Severity, broken, remedies, table

PACKAGE = Path(dyntransnet.__file__).parent
DOCUMENT = PACKAGE.parents[1] / "docs" / "data.md"
NAMED = re.compile(r'"((?:[a-z0-9]+-)+[a-z]+|unreadable|unusable|layout)"')
FOUND = [
    Problem("mask-snapped", "volume-7", "corners 0.02 mm apart"),
    Problem("too-large", "v", "got (9, 9, 9)"),
    Problem("mask-snapped", "volume-8", "corners 0.03 mm apart"),
]


def test_every_code_that_is_used_has_a_rule_and_every_rule_is_used():
    sources = [path for path in PACKAGE.rglob("*.py") if path.name != "problems.py"]
    text = "".join(path.read_text() for path in sources)
    used = set(re.findall(r'code="([^"]+)"', text)) | {
        code for code in NAMED.findall(text) if code in RULES
    }
    assert used == set(RULES)


def test_the_document_lists_every_rule():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (stop|warn) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert rows == [(code, rule.severity.value) for code, rule in RULES.items()]


def test_an_error_without_a_code_is_still_a_problem():
    assert Problem.of("a", ScanError("a: must be whole, got a half")).code == "unusable"


def test_a_problem_names_its_case_once():
    error = ScanError("volume-1: must be whole, got a half", code="too-large")
    assert Problem.of("volume-1", error).found == "must be whole, got a half"
    assert Problem.of("case-9", error).found == "volume-1: must be whole, got a half"


def test_a_line_names_its_case_or_is_the_whole_datasets():
    assert Problem.told("v-1: must be a: b", "layout", "lits") == Problem(
        "layout", "v-1", "must be a: b"
    )
    assert Problem.told("must hold scans, got none", "layout", "lits") == Problem(
        "layout", "lits", "must hold scans, got none"
    )


def test_checks_that_pass_leave_no_problem():
    def refuse():
        raise ScanError("a: must pass, got nothing", code="mask-empty")

    found = list(broken("a", [lambda: None, refuse, lambda: None]))
    assert found == [Problem("mask-empty", "a", "must pass, got nothing")]


def test_what_is_no_rule_of_the_data_is_a_bug():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(broken("a", [fail]))


def test_the_table_has_columns_and_a_line_for_each():
    assert table(FOUND) == [
        "volume-7  warn  mask-snapped  corners 0.02 mm apart",
        "v         stop  too-large     got (9, 9, 9)",
        "volume-8  warn  mask-snapped  corners 0.03 mm apart",
    ]
    assert table([]) == []


def test_a_remedy_is_said_once():
    assert [line.partition(": ")[0] for line in remedies(FOUND)] == ["too-large", "mask-snapped"]


def test_json_says_all_of_it():
    assert FOUND[0].to_json() == {
        "case": "volume-7",
        "code": "mask-snapped",
        "severity": Severity.WARN,
        "found": "corners 0.02 mm apart",
        "remedy": RULES["mask-snapped"].remedy,
    }
    assert not FOUND[0].stops
    assert FOUND[1].stops
