from pathlib import Path

import numpy as np
import pytest

from builders import case_of, save_lits
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.layouts import LAYOUTS, find_cases

RECIPE = """\
- {number: 4, patient: anna, seed: 1, spacing_mm: [8, 8, 10], shape: [40, 36, 22],
   orientation: LPS, tumors: 0}
"""


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def ids(source: Path) -> list[str]:
    return [case.id for case in find_cases(source, "lits")]


def test_lits_cases_are_counted_not_spelled(tmp_path):
    touch(tmp_path, *(f"{kind}-{n}.nii" for kind in ("volume", "segmentation") for n in (10, 9, 1)))
    assert ids(tmp_path) == ["volume-1", "volume-9", "volume-10"]


def test_lits_files_may_lie_in_subfolders_and_be_compressed(tmp_path):
    touch(tmp_path, "batch 1/volume-0.nii", "batch 2/deep/volume-1.nii.gz")
    touch(tmp_path, "masks/segmentation-0.nii.gz", "masks/segmentation-1.nii", "notes.txt")
    assert ids(tmp_path) == ["volume-0", "volume-1"]


def test_a_lits_case_gives_its_scan_and_mask(tmp_path):
    scan, mask = case_of()
    save_lits(tmp_path, 3, scan, mask)
    (case,) = find_cases(tmp_path, "lits")
    loaded = case.load()
    np.testing.assert_array_equal(loaded[0].voxels, scan.voxels)
    np.testing.assert_array_equal(loaded[1].labels, mask.labels)
    assert case.patient == "volume-3"


def test_everything_that_does_not_pair_up_is_listed_at_once(tmp_path):
    touch(tmp_path, "volume-0.nii", "segmentation-1.nii.gz", "volume-2.nii", "segmentation-2.nii")
    touch(tmp_path, "again/volume-2.nii.gz")
    with pytest.raises(DatasetError, match="3 problem") as caught:
        find_cases(tmp_path, "lits")
    assert caught.value.problems == (
        "segmentation-1: must have a volume-1, got none",
        "volume-0: must have a segmentation-0, got none",
        "volume-2: must stand once, got again/volume-2.nii.gz and volume-2.nii",
    )


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_cases_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=rf"{name}: must hold volume-N\.nii .* files, got none"):
        find_cases(tmp_path / name, "lits")


def test_phantoms_are_named_like_lits_and_know_their_patient(tmp_path):
    (tmp_path / "phantoms.yaml").write_text(RECIPE)
    (case,) = find_cases(tmp_path / "phantoms.yaml", "phantom")
    scan, mask = case.load()
    assert (case.id, case.patient) == ("volume-4", "anna")
    assert scan.voxels.shape == mask.labels.shape == (40, 36, 22)


def test_missing_recipes_are_refused(tmp_path):
    with pytest.raises(ScanError, match=r"phantoms\.yaml: recipes must be readable, got No such"):
        find_cases(tmp_path / "phantoms.yaml", "phantom")


def test_the_params_know_every_layout():
    from dyntransnet.config import IngestParams

    for layout in LAYOUTS:
        assert IngestParams(layout=layout, source="data", on_problem="stop").layout == layout
