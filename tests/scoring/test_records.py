import math

import numpy as np
import pytest

from builders import affine_of, case_of
from dyntransnet.errors import InputError
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.definitions import dice_definitions
from dyntransnet.scoring.metrics import score_case
from dyntransnet.scoring.records import read_cases, read_curve, write_cases

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
