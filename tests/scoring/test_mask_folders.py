from pathlib import Path

import numpy as np
import pytest

from builders import affine_of, case_of
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.scan import Mask, write_mask
from dyntransnet.scoring.folders import pair_masks, score_pairs


def masks(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_mask(case_of(seed=seed)[1], folder / name)
    return folder


def shapes(case: str, truth: Mask, predicted: Mask) -> tuple[str, tuple, tuple]:
    return case, truth.labels.shape, predicted.labels.shape


def test_masks_of_one_name_are_a_pair_whatever_their_format(tmp_path):
    truth = masks(tmp_path / "truth", "b.nii.gz", "a.nii")
    predicted = masks(tmp_path / "predicted", "a.mha", "b.NII.GZ", "other.nrrd")
    (truth / "notes.txt").touch()
    found = pair_masks(truth, predicted)
    assert {case: other.name for case, (_, other) in found.files.items()} == {
        "a": "a.mha", "b": "b.NII.GZ",
    }  # fmt: skip
    assert found.unpaired == ("other",)


def test_two_files_are_a_pair_under_any_names(tmp_path):
    masks(tmp_path, "truth.nii", "model.nrrd")
    found = pair_masks(tmp_path / "truth.nii", tmp_path / "model.nrrd")
    assert found.files == {"truth": (tmp_path / "truth.nii", tmp_path / "model.nrrd")}


def test_one_truth_is_found_in_a_folder(tmp_path):
    masks(tmp_path / "truth", "a.nii")
    masks(tmp_path / "predicted", "a.mha", "b.mha")
    found = pair_masks(tmp_path / "truth" / "a.nii", tmp_path / "predicted")
    assert list(found.files) == ["a"]


def test_every_case_without_a_prediction_is_listed(tmp_path):
    truth = masks(tmp_path / "truth", "a.nii", "b.nii", "c.nii")
    predicted = masks(tmp_path / "predicted", "b.nii")
    with pytest.raises(DatasetError, match="2 problem") as caught:
        pair_masks(truth, predicted)
    assert caught.value.problems == tuple(
        f"{case}: must have a mask in {predicted}, got none" for case in "ac"
    )


@pytest.mark.parametrize("folder", ["truth", "predicted"])
def test_two_masks_of_one_case_are_refused(tmp_path, folder):
    masks(tmp_path / "truth", "a.nii")
    masks(tmp_path / "predicted", "a.nii")
    masks(tmp_path / folder, "a.mha")
    with pytest.raises(DatasetError, match=f"a: must stand once in .*{folder}, got more masks"):
        pair_masks(tmp_path / "truth", tmp_path / "predicted")


def test_two_predictions_that_nobody_asks_for_are_no_problem(tmp_path):
    truth = masks(tmp_path / "truth", "a.nii")
    predicted = masks(tmp_path / "predicted", "a.nii", "b.nii", "b.mha")
    assert pair_masks(truth, predicted).unpaired == ("b",)


def test_a_folder_without_masks_is_refused(tmp_path):
    (tmp_path / "truth").mkdir()
    with pytest.raises(DatasetError, match=r"truth: must hold masks \(\.nii, .*\), got none"):
        pair_masks(tmp_path / "truth", tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    masks(tmp_path / "truth", "a.nii")
    with pytest.raises(ScanError, match="gone: must be a file or a folder, got nothing there"):
        pair_masks(tmp_path / "truth", tmp_path / "gone")


def test_every_case_is_scored_under_its_name(tmp_path):
    truth = masks(tmp_path / "truth", "a.nii", "b.nii")
    found = score_pairs(pair_masks(truth, masks(tmp_path / "p", "b.mha", "a.mha")), shapes)
    assert list(found) == ["a", "b"]
    assert found["b"] == ("b", (19, 24, 13), (19, 24, 13))


def test_every_mask_that_cannot_be_scored_is_listed(tmp_path):
    truth = masks(tmp_path / "truth", "a.nii", "b.nii", "c.nii", "d.nii", "e.nii")
    predicted = masks(tmp_path / "predicted", "a.nii")
    labels = case_of()[1].labels
    write_mask(Mask(labels, affine_of(spacing=(1.5, 0.9, 3.0))), predicted / "b.nii")
    write_mask(Mask(labels[1:], affine_of()), predicted / "c.nii")
    (predicted / "d.nii").write_bytes((truth / "d.nii").read_bytes()[:900])
    write_mask(Mask(labels + np.uint8(1), affine_of()), predicted / "e.nii")
    with pytest.raises(DatasetError, match="4 problem") as caught:
        score_pairs(pair_masks(truth, predicted), shapes)
    spacing, shape, short, label = caught.value.problems
    assert spacing.startswith("b: mask must lie on the scan within 0.09 mm, got corners")
    assert shape == "c: mask grid must equal scan grid (19, 24, 13), got (18, 24, 13)"
    assert short.startswith("d: d.nii must hold ")
    assert label == "e: labels must be 0, 1 or 2, got 1, 2, 3"


def test_masks_in_meters_are_refused(tmp_path):
    far = affine_of(spacing=(0.7, 0.7, 2000.0))
    for folder in ("truth", "predicted"):
        write_mask(Mask(case_of()[1].labels, far), tmp_path / folder / "a.nii")
    with pytest.raises(DatasetError, match=r"a: spacing must be 0\.05 to 50 mm"):
        score_pairs(pair_masks(tmp_path / "truth", tmp_path / "predicted"), shapes)
