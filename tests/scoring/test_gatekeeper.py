import pytest

from dyntransnet.errors import InputError, ParamsError, QualityGateError
from dyntransnet.scoring import gatekeeper
from dyntransnet.scoring.parity import Parity
from gates import NAN, RULES, save, tumors

BEFORE = tumors(0.5, 0.6, NAN, 0.7, healthy="c")


def run(tmp_path, before, after, **options) -> None:
    folders = (save(tmp_path / name, one) for name, one in (("old", before), ("new", after)))
    gatekeeper.run(*folders, RULES, markdown=tmp_path / "gate.md", **options)


def text(tmp_path) -> str:
    return (tmp_path / "gate.md").read_text()


def test_a_change_that_passes_is_a_table_and_a_line(tmp_path, capsys):
    run(tmp_path, BEFORE, tumors(0.55, 0.6, NAN, 0.69, healthy="c"))
    *_, line = capsys.readouterr().out.splitlines()
    assert line == (
        "gate: passed; liver 0.9000 -> 0.9000, +0.0000 in a, the worst of 4 (below 6 patients the "
        "worst counts); tumor 0.6000 -> 0.6133, -0.0100 in d, the worst of 3 (below 6 patients "
        "the worst counts)"
    )
    assert "### Dice gate: passed" in text(tmp_path)
    assert "| tumor | 3 (3) | 0.6000 | 0.6133 | +0.0133 | -0.0100 | 0.1 | passed |" in text(
        tmp_path
    )
    assert "- tumor: 1 cases without any, in truth and masks, not compared" in text(tmp_path)


def test_a_refusal_is_written_too(tmp_path, capsys):
    after = tumors(0.1, 0.6, 0.0, 0.7, healthy="c")
    with pytest.raises(QualityGateError, match=r"^gate: refused: Dice tumor must not fall .*$"):
        run(tmp_path, BEFORE, after)
    found = text(tmp_path)
    assert "### Dice gate: refused" in found
    assert "| refused |" in found
    assert "- tumor: marked where there is none, and was not before, in c" in found
    lost = [line for line in found.splitlines() if line.startswith(("| c |", "| a |"))]
    assert lost == [
        "| c | tumor | 1.0000 | 0.0000 | -1.0000 |",
        "| a | tumor | 0.5000 | 0.1000 | -0.4000 |",
    ]
    assert found in capsys.readouterr().out


def test_what_was_not_asked_is_said(tmp_path):
    run(tmp_path, BEFORE, BEFORE)
    assert "- parity: not asked for" in text(tmp_path)
    assert "- latency: not compared, the two were not timed side by side" in text(tmp_path)


def test_what_was_asked_is_said(tmp_path):
    run(tmp_path, BEFORE, BEFORE, parity=Parity(("openvino",), ()), slowdown=1.25)
    assert "- parity with torch: openvino" in text(tmp_path)
    assert "- latency: 1.25 times the baseline's seconds for a scan, at most 1.5" in text(tmp_path)


def test_patients_are_read_and_needed(tmp_path):
    owner = tmp_path / "splits.json"
    owner.write_text('{"patients": {"a": "x", "b": "x", "c": "x", "d": "y"}}')
    run(tmp_path, BEFORE, BEFORE, patients=owner)
    assert "| tumor | 2 (3) |" in text(tmp_path)
    owner.write_text('{"patients": {"a": "x"}}')
    rule = r"splits\.json: must name the patient of every case, got none of b, c, d$"
    with pytest.raises(ParamsError, match=rule):
        run(tmp_path, BEFORE, BEFORE, patients=owner)


def test_what_cannot_be_compared_has_a_reason_instead_of_a_table(tmp_path, capsys):
    with pytest.raises(InputError, match="got d in the baseline only"):
        run(tmp_path, BEFORE, tumors(0.5, 0.6, NAN, healthy="c"))
    assert text(tmp_path).startswith("### Dice gate: no verdict\n\n- **gate: both must have scored")
    assert capsys.readouterr().out == ""


def test_a_name_with_a_bar_breaks_no_table(tmp_path):
    before, after = (tumors(dice, first=ord("|") - ord("a")) for dice in (0.5, 0.45))
    run(tmp_path, before, after)
    assert "| \\| | tumor | 0.5000 | 0.4500 | -0.0500 |" in text(tmp_path)


def test_only_the_largest_losses_are_listed(tmp_path):
    before, after = tumors(*[0.5] * 14), tumors(*(0.5 - 0.001 * n for n in range(14)))
    run(tmp_path, before, after)
    rows = [line for line in text(tmp_path).splitlines() if line.count("|") == 6]
    assert len(rows) == 2 + 10
    assert rows[2].startswith("| n |")
