import json

import numpy as np
import pytest

from builders import contract_of
from caches import balls, save_case
from dyntransnet.errors import InputError
from dyntransnet.runtimes.samples import liver_windows, typical_windows

CONTRACT = contract_of(patch_size=(4, 6, 2))


def test_windows_are_cut_around_tumors_else_livers_else_anywhere(tmp_path):
    for name, tumor, liver in (("a", 4, 8), ("b", 0, 8), ("c", 0, 0)):
        save_case(tmp_path / name, balls(tumor=tumor, liver=liver))
    (tmp_path / "grid.json").write_text("{}")
    windows = liver_windows(tmp_path, CONTRACT, 3)
    assert windows.shape == (3, 1, 4, 6, 2)
    middle = windows[:, 0, 2, 3, 1]
    np.testing.assert_allclose(middle[:2], [0.2, 0.6], atol=1e-3)
    assert (windows[2] == -0.5).all()


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (2, [0, 2]), (4, [0, 1, 2, 3]), (6, [0, 0, 1, 2, 2, 3])]
)
def test_windows_are_spread_over_the_cases(tmp_path, count, expected):
    save_shades(tmp_path)
    windows = liver_windows(tmp_path, CONTRACT, count)
    assert (windows[:, 0, 0, 0, 0] * 4).tolist() == expected


def test_ranges_are_never_taken_from_cases_that_are_tested(tmp_path):
    save_shades(tmp_path / "cache")
    (tmp_path / "splits.json").write_text(json.dumps({"test": ["0", "2"]}))
    windows = typical_windows(tmp_path / "cache", tmp_path / "splits.json", CONTRACT, 4)
    assert (windows[:, 0, 0, 0, 0] * 4).tolist() == [1, 1, 3, 3]


def test_ranges_are_taken_from_lesions_and_from_anywhere(tmp_path):
    for name in "ab":
        save_case(tmp_path / "cache" / name, balls(tumor=2, liver=3))
    (tmp_path / "splits.json").write_text(json.dumps({"test": []}))
    windows = typical_windows(tmp_path / "cache", tmp_path / "splits.json", CONTRACT, 8)
    on_lesion = windows[:, 0, 2, 3, 1] == np.float16(0.2)
    assert on_lesion[::2].all()
    assert not on_lesion[1::2].all()


def test_where_all_cases_are_tested_there_are_no_ranges(tmp_path):
    save_shades(tmp_path / "cache")
    (tmp_path / "splits.json").write_text(json.dumps({"test": list("0123")}))
    with pytest.raises(InputError, match=r"splits\.json: must leave a case to take ranges from"):
        typical_windows(tmp_path / "cache", tmp_path / "splits.json", CONTRACT, 4)


def save_shades(cache) -> None:
    """Four cases, each of one value: a quarter of its name."""
    for index in range(4):
        label = balls()
        save_case(cache / str(index), label, np.full(label.shape, index / 4))
