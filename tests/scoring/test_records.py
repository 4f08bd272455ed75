import math

import numpy as np
import pytest

from builders import affine_of, case_of
from dyntransnet.errors import InputError
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.definitions import dice_definitions
from dyntransnet.scoring.metrics import score_case
from dyntransnet.scoring.records import (
    read_cases,
    read_curve,
    write_bins,
    write_cases,
    write_dices,
)

NSD_MM = {"liver": 3.0, "tumor": 2.0}
SHAPE = (19, 24, 13)
EMPTY = Mask(np.zeros(SHAPE, np.uint8), affine_of(SHAPE))


@pytest.fixture
def scores() -> dict:
    _, truth = case_of(seed=1)
    predicted = Mask(np.roll(truth.labels, 1, axis=0), truth.affine)
    return {
        "volume-1": score_case(truth, predicted, NSD_MM),
        "volume-2": score_case(truth, EMPTY, NSD_MM),
    }


def test_what_was_written_is_read(tmp_path, scores):
    write_cases(scores, tmp_path / "cases.csv")
    found = read_cases(tmp_path / "cases.csv")
    assert list(found) == list(scores)
    for case, by_class in scores.items():
        for name, row in by_class.items():
            shown = {column: found[case][name][column] for column in row}
            assert shown == pytest.approx(row, abs=1e-6, nan_ok=True)


def test_definitions_need_no_more_than_the_file(tmp_path, scores):
    write_cases(scores, tmp_path / "cases.csv")
    again = dice_definitions([*read_cases(tmp_path / "cases.csv").values()])
    assert again == pytest.approx(dice_definitions([*scores.values()]), abs=1e-6)


def test_what_is_not_defined_is_an_empty_cell_and_nan_again(tmp_path, scores):
    write_cases(scores, tmp_path / "cases.csv")
    assert "nan" not in (tmp_path / "cases.csv").read_text().lower()
    assert math.isnan(read_cases(tmp_path / "cases.csv")["volume-2"]["liver"]["hd95_mm"])


def test_a_file_of_another_version_is_refused(tmp_path):
    (tmp_path / "cases.csv").write_text("case,class,dice\nvolume-1,liver,0.9\n")
    with pytest.raises(InputError, match=r"cases\.csv: must have every column, .*both_voxels"):
        read_cases(tmp_path / "cases.csv")


def test_empty_cells_of_a_curve_are_left_out(tmp_path):
    (tmp_path / "curve.csv").write_text("step,dice_liver,dice_tumor\n50,0.5,\n100,0.75,0.25\n")
    assert read_curve(tmp_path / "curve.csv") == [
        {"step": 50, "dice_liver": 0.5},
        {"step": 100, "dice_liver": 0.75, "dice_tumor": 0.25},
    ]


def test_dices_stand_side_by_side_for_a_plot(tmp_path, scores):
    scores["volume-2"]["tumor"]["dice"] = math.nan
    write_dices(scores, tmp_path / "dice.csv")
    head, first, second = (tmp_path / "dice.csv").read_text().splitlines()
    assert head == "case,liver,tumor"
    case, *dices = first.split(",")
    expected = [row["dice"] for row in scores["volume-1"].values()]
    assert (case, [float(dice) for dice in dices]) == (
        "volume-1",
        pytest.approx(expected, abs=1e-6),
    )
    assert second == "volume-2,0.0,"


def test_an_empty_bin_has_only_its_voxels(tmp_path):
    nothing = {"probability": math.nan, "inside": math.nan}
    write_bins([{"low": 0.0, "high": 0.5, "voxels": 0, **nothing}], tmp_path / "bins.csv")
    assert (tmp_path / "bins.csv").read_text().splitlines() == [
        "low,high,voxels,probability,inside", "0.0,0.5,0,,",
    ]  # fmt: skip
