import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyntransnet.scoring.calibration import reliability, summarize_calibration
from dyntransnet.scoring.report.charts import box_charts, five_numbers
from dyntransnet.scoring.report.contents import Learning
from dyntransnet.scoring.report.curves import learning_charts, lesion_chart, reliability_charts
from dyntransnet.scoring.report.scales import scale_of
from dyntransnet.scoring.summary import HOW, SCORES, summarize_cases
from reports import cases_of


@settings(deadline=None)  # a busy machine takes its time
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_a_scale_holds_its_values_and_zero_between_round_ticks(values):
    scale = scale_of(values, 50.0, 450.0)
    ticks = scale.ticks()
    assert all(50 <= scale.at(value) <= 450 for value in [0.0, *values])
    assert 1 <= len(ticks) <= 8
    assert "0" in [tick.text for tick in ticks]
    for tick in ticks:
        assert tick.at == pytest.approx(scale.at(float(tick.text)), abs=0.02)


def test_a_scale_may_run_upwards():
    scale = scale_of([3.0, 17.0], 200.0, 0.0)
    assert (scale.at(0.0), scale.at(10.0), scale.at(20.0)) == (200, 100, 0)
    assert [tick.text for tick in scale.ticks()] == ["0", "5", "10", "15", "20"]


def test_a_box_is_made_of_quartiles_and_of_what_is_not_far_off():
    near = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert five_numbers(near) == (1, 2, 3, 4, 5)
    assert five_numbers([*near, 30.0]) == (1, 2.25, 3.5, 4.75, 5)
    assert five_numbers([7.0]) == (7, 7, 7, 7, 7)


def test_every_case_that_has_a_score_is_a_dot_at_its_value():
    cases = cases_of()
    charts = box_charts(cases)
    assert len(charts) == len(SCORES)
    dice = charts[0]
    left, _, right, _ = dice.area
    for name, n in (("liver", 7), ("tumor", 6)):
        dots = [dot for dot in dice.dots if dot.kind == name]
        assert f"{name}, n {n}" in [tick.text for tick in dice.y_ticks]
        for dot, case in zip(dots, [*cases][:n], strict=True):
            share = (dot.x - left) / (right - left)
            assert share == pytest.approx(cases[case].rows[name]["dice"], abs=1e-4)
            assert dot.note.startswith(f"{case}: ")


def test_a_box_chart_says_its_numbers_to_those_who_do_not_see_it():
    cases = cases_of()
    median = np.median([one.rows["liver"]["dice"] for one in cases.values()])
    assert f"liver median {median:.3f}, quartiles" in box_charts(cases)[0].said
    healthy = {"volume-6": cases["volume-6"]}
    assert "tumor not defined in any case" in box_charts(healthy)[0].said


def test_a_score_that_no_case_has_gets_no_chart():
    (case,) = cases_of(1).values()
    for row in case.rows.values():
        row["hd95_mm"] = math.nan
    assert "HD95, mm" not in [chart.title for chart in box_charts({"volume-0": case})]


def test_learning_curves_leave_out_what_was_not_defined():
    scores = [{"step": 1.0, "dice_liver": 0.5}, {"step": 2.0, "dice_liver": 0.7, "dice_tumor": 0.1}]
    loss, dice = learning_charts(Learning([{"step": 2.0, "loss": 0.4}], scores))
    assert [len(line.points) for line in dice.lines] == [2, 1]
    assert dice.said.endswith("liver 0.700 at step 2; tumor 0.100 at step 2")
    assert loss.dots[0].note == "step 2: loss 0.400"


def test_a_run_that_measured_nothing_can_be_drawn():
    loss, dice = learning_charts(Learning([], []))
    assert loss.said == "Training loss: nothing was measured"
    assert dice.lines == []


def test_reliability_is_drawn_where_voxels_are():
    called = np.array([0.1, 0.1, 0.1, 0.9]).reshape(1, 2, 2)
    bins = {"a": reliability(called, called > 0.5)}
    one = summarize_calibration(bins, {"a": "a"}, HOW)
    ((diagram, voxels),) = reliability_charts({"liver": one})
    left, top, right, bottom = diagram.area
    (ideal, curve) = diagram.lines
    assert ideal.points == [(left, bottom), (right, top)]
    shares = [((x - left) / (right - left), (bottom - y) / (bottom - top)) for x, y in curve.points]
    assert shares == [pytest.approx((0.1, 0), abs=1e-3), pytest.approx((0.9, 1), abs=1e-3)]
    assert [bar.note for bar in voxels.bars] == [
        "0.07 to 0.13: 3 voxels", "0.87 to 0.93: 1 voxels",
    ]  # fmt: skip
    assert voxels.bars[0].height > voxels.bars[1].height > 0


def test_lesions_are_bars_as_long_as_there_are_of_them():
    lesions = summarize_cases(cases_of()).lesions
    chart = lesion_chart(lesions)
    unit = chart.bars[0].width / int(chart.bars[0].note.split()[0])
    for kind, words in (("matched", ("found", "right")), ("unmatched", ("missed", "false"))):
        for bar in [bar for bar in chart.bars if bar.kind == kind]:
            number, word = bar.note.split()
            assert word in words
            assert bar.width == pytest.approx(int(number) * unit, abs=0.05)
    found = sum(int(bar.note.split()[0]) for bar in chart.bars if bar.note.endswith("found"))
    assert found == lesions["all"].detected > 0
