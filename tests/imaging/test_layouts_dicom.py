from pathlib import Path

import numpy as np
import pytest

from builders import affine_of, case_of, turned
from dicoms import save_segmentation, save_series
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.checks.grids import check_pair
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts import Case, find_cases
from dyntransnet.imaging.scan import Mask, write_mask, write_scan

SCAN, MASK = case_of(affine=affine_of(code="LPS", tilt_deg=6))
NAME = "Doe_Jane"


def save_case(folder: Path, *, seed: int = 0, **series: object) -> None:
    scan, mask = case_of(affine=SCAN.affine, seed=seed)
    save_series(folder / "deep" / "series", scan, **series)
    save_segmentation(folder / "seg.dcm", mask)


def problem_of(case: Case, code: str) -> str:
    with pytest.raises(ScanError) as caught:
        case.load()
    assert caught.value.code == code
    return str(caught.value)


def test_a_series_and_its_segmentation_make_a_case(tmp_path):
    save_case(tmp_path / NAME)
    (case,) = find_cases(tmp_path, "dicom")
    scan, mask = case.load()
    np.testing.assert_array_equal(scan.voxels, SCAN.voxels)
    np.testing.assert_array_equal(mask.labels, MASK.labels)
    check_pair(scan, mask)
    assert (scan.id, case.modality, case.origin) == (case.id, "CT", tmp_path / NAME)
    assert NAME not in repr(case)


def test_an_image_file_may_be_the_mask_and_lie_along_other_axes(tmp_path):
    save_series(tmp_path / "a" / "series", SCAN)
    labels, affine = turned(MASK.labels, MASK.affine, (2, 1, 0), (True, False, False))
    write_mask(Mask(np.ascontiguousarray(labels) * 5, affine), tmp_path / "a" / "any.nii.gz")
    numbering = Numbering(liver=(5,), tumor=(10,))
    (case,) = find_cases(tmp_path, "dicom", numbering=numbering)
    scan, mask = case.load()
    np.testing.assert_array_equal(mask.labels, MASK.labels)
    check_pair(scan, mask)


def test_segmentations_of_one_scan_are_put_together(tmp_path):
    save_series(tmp_path / "a", SCAN)
    for label, code in ((1, ("SCT", "10200004")), (2, ("SCT", "4147007"))):
        save_segmentation(tmp_path / "a" / f"{label}.dcm", MASK, [(label, code)])
    (case,) = find_cases(tmp_path, "dicom")
    np.testing.assert_array_equal(case.load()[1].labels, MASK.labels)


def test_scans_of_one_person_share_a_patient_that_is_one_of_their_cases(tmp_path):
    people = ["MRN-1", "MRN-2", "MRN-1", "", ""]
    for seed, person in enumerate(people):
        save_case(tmp_path / str(seed), seed=seed, person=person, study=seed)
    cases = find_cases(tmp_path, "dicom")
    patients = [case.patient for case in cases]
    assert patients[0] == patients[2] == min(cases[0].id, cases[2].id)
    assert len(set(patients)) == 4


def test_scans_without_patient_id_are_grouped_by_study(tmp_path):
    for seed, study in enumerate((1, 1, 2)):
        save_case(tmp_path / str(seed), seed=seed, person="", study=study)
    first, second, third = (case.patient for case in find_cases(tmp_path, "dicom"))
    assert first == second != third


def test_names_stay_when_folders_are_renamed_or_added(tmp_path):
    for seed in (0, 1):
        save_case(tmp_path / str(seed), seed=seed)
    before = {case.id for case in find_cases(tmp_path, "dicom")}
    (tmp_path / "1").rename(tmp_path / NAME)
    save_case(tmp_path / "00", seed=2)
    assert before < {case.id for case in find_cases(tmp_path, "dicom")}


def test_mr_is_told_from_ct(tmp_path):
    save_case(tmp_path / "a", modality="MR")
    (case,) = find_cases(tmp_path, "dicom", modality="MR")
    assert case.modality == "MR"
    (case,) = find_cases(tmp_path, "dicom", modality="CT")
    rule = "folder 1: must hold one CT series, got series 1 (MR, 13 slices)"
    assert problem_of(case, "series-not-one") == rule


def test_a_folder_that_cannot_be_used_says_why_when_it_is_loaded(tmp_path):
    save_case(tmp_path / "0")
    save_case(tmp_path / NAME, slide_mm=2.0)
    good, bad = find_cases(tmp_path, "dicom")
    good.load()
    assert bad.id == bad.patient == "folder-2"
    rule = "folder 2: slices must be stacked at right angles"
    assert problem_of(bad, "affine-sheared").startswith(rule)


@pytest.mark.parametrize(
    ("segmentations", "images", "shown"),
    [(0, 0, "0 DICOM SEG and 0"), (0, 2, "0 DICOM SEG and 2"), (1, 1, "1 DICOM SEG and 1")],
)
def test_a_case_without_one_mask_is_refused(tmp_path, segmentations, images, shown):
    save_series(tmp_path / "a", SCAN)
    for n in range(segmentations):
        save_segmentation(tmp_path / "a" / f"{n}.dcm", MASK)
    for n in range(images):
        write_scan(SCAN, tmp_path / "a" / f"{n}.nii.gz")
    (case,) = find_cases(tmp_path, "dicom")
    rule = "folder 1: must have one mask, as DICOM SEG or as an image file, got"
    assert problem_of(case, "mask-not-one") == f"{rule} {shown} image file(s)"


def test_one_series_in_two_folders_is_refused(tmp_path):
    for name in ("a", "b"):
        save_case(tmp_path / name)
    with pytest.raises(DatasetError, match=r"case-\w{10}: must stand once, got 2 scans") as caught:
        find_cases(tmp_path, "dicom")
    assert caught.value.code == "same-scan-twice"


def test_a_segmentation_chooses_among_series(tmp_path):
    other, _ = case_of(affine=SCAN.affine, seed=5)
    save_series(tmp_path / "a", other, series=2)
    save_series(tmp_path / "a", SCAN, series=1)
    save_segmentation(tmp_path / "a" / "seg", MASK, drawn_on=1)
    (case,) = find_cases(tmp_path, "dicom")
    np.testing.assert_array_equal(case.load()[0].voxels, SCAN.voxels)


@pytest.mark.parametrize(
    ("keep", "rule"),
    [
        (200, "DICOM files must be whole, got"),
        (300, "must say what it shows (Modality), got nothing, as of a file that was cut off"),
        ("0020000e", "each slice must name its series, got 1 without"),
    ],
)
def test_an_outer_slice_whose_header_was_cut_off_is_told_and_not_passed_over(tmp_path, keep, rule):
    save_case(tmp_path / NAME)
    first = min((tmp_path / NAME / "deep" / "series").iterdir())  # no gap would tell
    content = first.read_bytes()
    end = content.index(bytes.fromhex("20000e00")) if keep == "0020000e" else keep
    first.write_bytes(content[:end])
    (case,) = find_cases(tmp_path, "dicom")
    assert problem_of(case, "unreadable").startswith(f"folder 1: {rule}")
