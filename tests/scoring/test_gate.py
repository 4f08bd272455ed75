import json
from pathlib import Path

import pytest

from dyntransnet.errors import QualityGateError
from dyntransnet.scoring.gate import compare_files, refusals

NAN = float("nan")


def refused(challenger, champion=None, *, minimum=(0.9, 0.5), max_drop=0.02) -> list[str]:
    """Pairs are liver and tumor."""
    return refusals(
        named(challenger), champion and named(champion), minimum=named(minimum), max_drop=max_drop
    )


def named(pair) -> dict[str, float | None]:
    return dict(zip(("liver", "tumor"), pair, strict=True))


def metrics_file(path: Path, *pair: float | None) -> Path:
    path.write_text(json.dumps({name: {"dice": dice} for name, dice in named(pair).items()}))
    return path


@pytest.mark.parametrize("challenger", [(0.9, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("champion", [None, (0.9, 0.5), (0.92, 0.52), (0.1, 0.1), (0.9, None)])
def test_good_enough_and_not_far_behind_passes(challenger, champion):
    assert refused(challenger, champion) == []


def test_each_class_has_its_own_minimum():
    assert refused((0.89, 0.6)) == ["Dice liver must be at least 0.9, got 0.8900"]
    assert refused((0.95, 0.4)) == ["Dice tumor must be at least 0.5, got 0.4000"]


def test_every_broken_rule_is_listed():
    assert len(refused((0.1, 0.1), (0.95, 0.9))) == 4


@pytest.mark.parametrize(("tumor", "broken"), [(0.7, 0), (0.69, 0), (0.67, 1)])
def test_no_class_may_fall_further_than_allowed(tumor, broken):
    assert len(refused((0.95, tumor), (0.95, 0.70))) == broken


def test_a_fall_is_shown_against_the_champion():
    (line,) = refused((0.95, 0.6), (0.95, 0.7))
    assert line == "Dice tumor must not fall more than 0.02 below 0.7000, got 0.6000"


def test_better_livers_do_not_pay_for_worse_tumors():
    assert refused((1.0, 0.6), (0.9, 0.7)) != []


@pytest.mark.parametrize(("tumor", "shown"), [(None, "no score"), (NAN, "nan")])
def test_no_score_counts_as_0(tumor, shown):
    minimum, drop = refused((0.95, tumor), (0.95, 0.5))
    assert minimum == f"Dice tumor must be at least 0.5, got {shown}"
    assert drop == "Dice tumor must not fall more than 0.02 below 0.5000, got 0.0000"


def test_a_minimum_of_0_asks_for_no_tumors_in_the_test_set():
    assert refused((0.95, None), (0.95, None), minimum=(0.9, 0.0)) == []


def test_files_that_kept_their_dice_pass(tmp_path):
    base = metrics_file(tmp_path / "base.json", 0.9, None)
    line = compare_files(base, metrics_file(tmp_path / "new.json", 0.895, 0.3), max_drop=0.01)
    assert line == "gate: passed, Dice liver 0.9000 -> 0.8950, tumor no score -> 0.3000"


def test_files_that_lost_dice_fail(tmp_path):
    base, new = (metrics_file(tmp_path / f"{d}.json", d, 0.5) for d in (0.9, 0.8))
    with pytest.raises(QualityGateError, match=r"0\.8\.json: Dice liver must not fall more than 0"):
        compare_files(base, new, max_drop=0.01)
