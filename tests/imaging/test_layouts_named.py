"""MSD, ATLAS and plain folders; what fits which; other numberings of masks."""

import json
from pathlib import Path

import numpy as np
import pytest

from builders import affine_of, case_of, save_lits, turned
from dicoms import save_segmentation, save_series
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts import LAYOUTS, find_cases
from dyntransnet.imaging.scan import Mask, Scan, write_mask, write_scan

NAME = "Doe_Jane_1901"


def save_pair(scan_path: Path, mask_path: Path, *, seed: int = 0) -> tuple[Scan, Mask]:
    scan, mask = case_of(seed=seed)
    write_scan(scan, scan_path)
    write_mask(mask, mask_path)
    return scan, mask


def save_msd(root: Path, numbers: tuple[int, ...] = (0, 7), **changes: object) -> Path:
    for n in numbers:
        save_pair(root / f"imagesTr/liver_{n}.nii.gz", root / f"labelsTr/liver_{n}.nii.gz", seed=n)
        (root / f"imagesTr/._liver_{n}.nii.gz").write_text("a Mac's shadow")
    listed = [
        {"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"}
        for n in numbers
    ]
    values = {"name": "Liver", "modality": {"0": "CT"}, "training": listed} | changes
    (root / "dataset.json").write_text(json.dumps(values))
    return root


def save_atlas(root: Path, numbers: tuple[int, ...] = (0, 2, 10)) -> Path:
    for n in numbers:
        folder = root / "train"
        save_pair(folder / f"imagesTr/im{n}.nii.gz", folder / f"labelsTr/lb{n}.nii.gz", seed=n)
    (root / "train/imagesTr/_im0.nii.gz").write_text("hidden")
    (root / "train/patient_info_train.json").write_text("{not read}")
    return root


def save_folders(root: Path) -> Path:
    save_pair(root / f"images/{NAME}.nii.gz", root / f"masks/{NAME}.nrrd", seed=1)
    save_pair(root / "images/b.mha", root / "masks/b.nii", seed=2)
    return root


def save_folder_each(root: Path) -> Path:
    for seed, name in enumerate((NAME, "b"), start=1):
        save_pair(root / name / "scan.nii.gz", root / name / "mask.nrrd", seed=seed)
    return root


def save_dicom(root: Path) -> Path:
    scan, mask = case_of(affine=affine_of(code="LPS"))
    save_series(root / NAME / "series", scan)
    save_segmentation(root / NAME / "seg.dcm", mask)
    return root


def save_as_lits(root: Path) -> Path:
    save_lits(root, 3, *case_of())
    return root


def save_recipes(root: Path) -> Path:
    root.mkdir()
    (root / "phantoms.yaml").write_text("[]")
    return root / "phantoms.yaml"


MADE = {
    "phantom": save_recipes,
    "lits": save_as_lits,
    "msd": save_msd,
    "atlas": save_atlas,
    "plain": save_folders,
    "dicom": save_dicom,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_fits_its_own_datasets_and_no_other(tmp_path, name):
    source = MADE[name](tmp_path / "data")
    assert [other for other, layout in LAYOUTS.items() if layout.fits(source)] == [name]


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "phantom"])
def test_auto_finds_what_the_name_finds(tmp_path, name):
    source = MADE[name](tmp_path / "data")
    modality = "MR" if name == "atlas" else "CT"
    found, named = (find_cases(source, way, modality=modality) for way in ("auto", name))
    assert [case.id for case in found] == [case.id for case in named]
    assert found


def test_a_folder_for_each_case_fits_plain_too(tmp_path):
    source = save_folder_each(tmp_path / "data")
    assert [name for name, layout in LAYOUTS.items() if layout.fits(source)] == ["plain"]


@pytest.mark.parametrize("made", [False, True])
def test_what_no_layout_fits_is_told_all_that_was_looked_for(tmp_path, made):
    if made:
        (tmp_path / "data/deep").mkdir(parents=True)
        (tmp_path / "data/deep/scan.txt").write_text("none")
    with pytest.raises(ScanError, match=r"^data: must have a known layout") as caught:
        find_cases(tmp_path / "data", "auto")
    assert "\n" not in str(caught.value)
    for layout in LAYOUTS.values():
        assert layout.holds in str(caught.value)


def test_two_layouts_at_once_are_refused(tmp_path):
    save_as_lits(save_msd(tmp_path / "data"))
    rule = r"^data: must have one layout, got lits and msd: name one in ingest\.layout$"
    with pytest.raises(ScanError, match=rule):
        find_cases(tmp_path / "data", "auto")


def test_msd_cases_are_those_of_its_list(tmp_path):
    source = save_msd(tmp_path, (0, 7))
    (first, second) = find_cases(source, "msd")
    assert (first.id, second.id, second.patient) == ("liver_0", "liver_7", "liver_7")
    scan, mask = second.load()
    expected = case_of(seed=7)
    np.testing.assert_array_equal(scan.voxels, expected[0].voxels)
    np.testing.assert_array_equal(mask.labels, expected[1].labels)


def test_files_that_msd_lists_and_that_are_not_there_are_all_named(tmp_path):
    source = save_msd(tmp_path / "data", (0, 1, 2))
    (source / "imagesTr/liver_1.nii.gz").unlink()
    (source / "labelsTr/liver_2.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"^data: 2 problem") as caught:
        find_cases(source, "msd")
    assert caught.value.problems == (
        "imagesTr/liver_1.nii.gz: must exist, as dataset.json lists it, got no file",
        "labelsTr/liver_2.nii.gz: must exist, as dataset.json lists it, got no file",
    )


def test_a_list_does_not_lead_out_of_its_dataset(tmp_path):
    save_pair(tmp_path / "secret.nii.gz", tmp_path / "mask.nii.gz")
    entry = {"image": "../../secret.nii.gz", "label": "../../mask.nii.gz"}
    source = save_msd(tmp_path / "data", training=[entry])
    with pytest.raises(DatasetError, match=r"imagesTr/secret\.nii\.gz: must exist"):
        find_cases(source, "msd")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2", r"must be JSON, got JSONDecodeError"),
        ('{"modality": {"0": "CT"}}', r"training is not valid, Field required"),
        ('{"modality": {"0": "CT"}, "training": []}', r"must list training cases, got none"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path, content, message):
    source = save_msd(tmp_path)
    (source / "dataset.json").write_text(content)
    with pytest.raises(ScanError, match=rf"dataset\.json: {message}"):
        find_cases(source, "msd")


def test_atlas_cases_are_mr_and_counted_not_spelled(tmp_path):
    cases = find_cases(save_atlas(tmp_path), "atlas", modality="MR")
    assert [(case.id, case.modality) for case in cases] == [
        ("im0", "MR"), ("im2", "MR"), ("im10", "MR"),
    ]  # fmt: skip
    np.testing.assert_array_equal(cases[2].load()[0].voxels, case_of(seed=10)[0].voxels)


def test_atlas_may_be_named_by_its_folder_train(tmp_path):
    assert len(find_cases(save_atlas(tmp_path) / "train", "atlas", modality="MR")) == 3


def test_atlas_scans_and_masks_without_each_other_are_listed(tmp_path):
    source = save_atlas(tmp_path)
    (source / "train/labelsTr/lb2.nii.gz").unlink()
    (source / "train/imagesTr/im10.nii.gz").unlink()
    with pytest.raises(DatasetError) as caught:
        find_cases(source, "atlas", modality="MR")
    assert caught.value.problems == (
        "im2: must have a lb2, got none",
        "lb10: must have a im10, got none",
    )


@pytest.mark.parametrize(("name", "wrong"), [("atlas", "CT"), ("lits", "MR"), ("msd", "MR")])
def test_another_modality_than_was_said_is_refused(tmp_path, name, wrong):
    right = {"CT": "MR", "MR": "CT"}[wrong]
    rule = rf": must be {wrong} \(ingest\.modality\), got {right}"
    with pytest.raises(DatasetError, match=rule):
        find_cases(MADE[name](tmp_path / "data"), name, modality=wrong)


@pytest.mark.parametrize("save", [save_folders, save_folder_each])
def test_plain_cases_are_called_after_their_content(tmp_path, save):
    cases = find_cases(save(tmp_path / NAME), "plain", modality="MR")
    assert {case.modality for case in cases} == {"MR"}
    for case in cases:
        scan, _ = case.load()
        assert scan.id == case.id == case.patient
        assert case.id.startswith("case-")
        assert NAME not in repr(case)
    expected = {case_of(seed=seed)[0].voxels.tobytes() for seed in (1, 2)}
    assert {case.load()[0].voxels.tobytes() for case in cases} == expected


def test_plain_names_stay_when_a_file_is_renamed_or_added(tmp_path):
    source = save_folders(tmp_path)
    before = {case.id for case in find_cases(source, "plain")}
    (source / "images/b.mha").rename(source / "images/a.mha")
    (source / "masks/b.nii").rename(source / "masks/a.nii")
    save_pair(source / "images/0.nii", source / "masks/0.nii", seed=3)
    assert before < {case.id for case in find_cases(source, "plain")}


def test_plain_files_without_each_other_are_counted_and_not_named(tmp_path):
    source = save_folders(tmp_path / "data")
    write_scan(case_of(seed=3)[0], source / "images/c.nii")
    write_scan(case_of(seed=4)[0], source / "images/b.nii")
    write_mask(case_of(seed=5)[1], source / f"masks/{NAME}2.nii")
    with pytest.raises(DatasetError) as caught:
        find_cases(source, "plain")
    assert caught.value.problems == (
        "each scan must have a mask of its name, got 1 without",
        "each mask must have a scan of its name, got 1 without",
        "each name must have one file, got 1 with more",
    )


def test_one_scan_under_two_names_is_refused(tmp_path):
    source = save_folders(tmp_path)
    (source / "images/copy.mha").write_bytes((source / "images/b.mha").read_bytes())
    (source / "masks/copy.nii").write_bytes((source / "masks/b.nii").read_bytes())
    with pytest.raises(DatasetError, match=r"case-\w{10}: must stand once, got 2 scans"):
        find_cases(source, "plain")


@pytest.mark.parametrize("name", ["lits", "msd", "atlas", "plain", "dicom"])
def test_an_empty_folder_is_refused_by_every_layout(tmp_path, name):
    with pytest.raises(ScanError, match=r"must .*, got (none|No such file)"):
        find_cases(tmp_path, name)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_errors_call_a_plain_file_by_its_case(tmp_path, part):
    source = save_folders(tmp_path)
    for path in (source / part).iterdir():
        if path.name.startswith(NAME):
            path.write_text("no image")
    (case, *_) = [case for case in find_cases(source, "plain") if case.origin.name.startswith(NAME)]
    with pytest.raises(ScanError, match=rf"^{case.id}.* must be a readable image, got") as caught:
        case.load()
    assert NAME not in str(caught.value)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True)])
def test_a_mask_stored_along_other_axes_is_turned_to_its_scan(tmp_path, order, flips):
    scan, mask = case_of(affine=affine_of(code="PIR", tilt_deg=7))
    labels, affine = turned(mask.labels, mask.affine, order, flips)
    write_scan(scan, tmp_path / "images/a.nii.gz")
    write_mask(Mask(np.ascontiguousarray(labels), affine), tmp_path / "masks/a.nii.gz")
    (case,) = find_cases(tmp_path, "plain")
    found = case.load()[1]
    np.testing.assert_array_equal(found.labels, mask.labels)
    np.testing.assert_allclose(found.affine, scan.affine, atol=1e-4)


def test_a_mask_on_another_grid_is_not_turned(tmp_path):
    scan, mask = case_of()
    write_scan(scan, tmp_path / "images/a.nii.gz")
    affine = affine_of(spacing=(1.5, 1.5, 4.0), code="LPS")
    write_mask(Mask(mask.labels, affine), tmp_path / "masks/a.nii.gz")
    (case,) = find_cases(tmp_path, "plain")
    np.testing.assert_allclose(case.load()[1].affine, affine, atol=1e-4)


@pytest.mark.parametrize("name", ["lits", "plain", "msd", "atlas"])
def test_masks_may_number_in_another_way(tmp_path, name):
    source = MADE[name](tmp_path / "data")
    modality = "MR" if name == "atlas" else "CT"
    numbering = Numbering(liver=(2,), tumor=(), others="background")
    (case, *_) = find_cases(source, name, modality=modality, numbering=numbering)
    (ours, *_) = find_cases(source, name, modality=modality)
    np.testing.assert_array_equal(case.load()[1].labels, np.array([0, 0, 1])[ours.load()[1].labels])
