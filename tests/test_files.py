import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from builders import SHAPE, affine_of, case_of, contract_of
from dyntransnet.errors import DatasetError, OutputError, ScanError, ServingError
from dyntransnet.files import plan_jobs, run_job, score_folders
from dyntransnet.imaging.scan import Mask, Scan, read_mask, write_mask, write_scan
from dyntransnet.imaging.segment import Segmentation, answer


def bright(scan: Scan) -> Segmentation:
    return answer(
        scan, lambda w: np.concatenate([9 * w, 9 * (w - 0.5)], axis=1), contract_of()
    )  # fmt: skip


def scans(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_scan(case_of(seed=seed)[0], folder / name)
    return folder


def masks(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_mask(case_of(seed=seed)[1], folder / name)
    return folder


def planned(paths: list[Path], output: Path) -> list[tuple[str, str]]:
    """Which scan becomes which mask."""
    jobs = plan_jobs(paths, output, report=False, preview=False)
    return [(job.scan.name, str(job.mask.relative_to(output.parent))) for job in jobs]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nrrd", "deep.er/mask.mha"])
def test_one_scan_may_become_one_named_file(tmp_path, name):
    folder = scans(tmp_path / "in", "a.nii.gz")
    (job,) = plan_jobs([folder / "a.nii.gz"], tmp_path / name, report=False, preview=False)
    assert (job.mask, job.report, job.preview) == (tmp_path / name, None, None)


@pytest.mark.parametrize("output", ["masks", "there.nii.gz"])
def test_one_scan_may_go_into_a_folder(tmp_path, output):
    (tmp_path / "there.nii.gz").mkdir()
    folder = scans(tmp_path / "in", "a.nrrd")
    assert planned([folder / "a.nrrd"], tmp_path / output) == [("a.nrrd", f"{output}/a.nrrd")]


def test_many_scans_go_into_a_folder_under_their_names(tmp_path):
    folder = scans(tmp_path / "in", "b.mha", "a.nii")
    other = scans(tmp_path / "other", "c.NII.GZ")
    (folder / "notes.txt").touch()
    assert planned([folder, other / "c.NII.GZ"], tmp_path / "out") == [
        ("a.nii", "out/a.nii"), ("b.mha", "out/b.mha"), ("c.NII.GZ", "out/c.NII.GZ"),
    ]  # fmt: skip


def test_a_folder_of_one_scan_still_becomes_a_folder(tmp_path):
    folder = scans(tmp_path / "in", "a.nii.gz")
    assert planned([folder], tmp_path / "out.d") == [("a.nii.gz", "out.d/a.nii.gz")]


def test_hidden_files_are_no_scans(tmp_path):
    folder = scans(tmp_path / "in", "a.nii.gz", ".partial-7-b.nii.gz", "._a.nii.gz")
    assert planned([folder], tmp_path / "out") == [("a.nii.gz", "out/a.nii.gz")]


def test_two_files_of_a_metaimage_become_one_mask(tmp_path):
    image = sitk.GetImageFromArray(case_of()[0].voxels.T)
    sitk.WriteImage(image, str(tmp_path / "a.mhd"))
    (job,) = plan_jobs([tmp_path / "a.mhd"], tmp_path / "out", report=False, preview=False)
    run_job(job, bright)
    assert read_mask(tmp_path / "out" / "a.nii.gz").labels.shape == SHAPE


@pytest.mark.parametrize("other", ["two/a.nii.gz", "two/a.mha", "one/a.nrrd"])
def test_results_of_two_scans_never_share_a_name(tmp_path, other):
    scans(tmp_path, "one/a.nii.gz", other)
    files = [tmp_path / "one" / "a.nii.gz", tmp_path / other]
    with pytest.raises(OutputError, match="out: each scan must have its own name, got a twice"):
        plan_jobs(files, tmp_path / "out", report=True, preview=True)


@pytest.mark.parametrize("output", ["a.nii.gz", "."])
def test_a_mask_never_replaces_its_scan(tmp_path, output):
    scans(tmp_path, "a.nii.gz")
    with pytest.raises(OutputError, match=r"a\.nii\.gz: must not be the scan itself, got the same"):
        plan_jobs([tmp_path / "a.nii.gz"], tmp_path / output, report=False, preview=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.nii.gz", r"gone\.nii\.gz: must be a file or a folder, got nothing there"),
        ("gone", "gone: must be a file or a folder, got nothing there"),
        ("notes.txt", r"notes\.txt: extension must be one of \.nii, .*, got notes\.txt"),
        ("empty", r"empty: must hold scans \(\.nii, .*\), got none"),
    ],
)
def test_what_cannot_be_read_is_named_before_any_work(tmp_path, name, message):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScanError, match=message):
        plan_jobs([tmp_path / name], tmp_path / "out", report=False, preview=False)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("mask.png", r"mask\.png: extension must be one of \.nii, \.nii\.gz, \.nrrd, \.mha, got"),
        ("mask.mhd", r"mask\.mhd: extension must be one of"),
        ("file/mask.nii.gz", r"mask\.nii\.gz: its folder must be writable, got"),
    ],
)
def test_what_cannot_be_written_is_named_before_any_work(tmp_path, output, message):
    (tmp_path / "file").touch()
    scans(tmp_path / "in", "a.nii.gz")
    with pytest.raises(OutputError, match=message):
        plan_jobs([tmp_path / "in" / "a.nii.gz"], tmp_path / output, report=False, preview=False)


def test_a_job_writes_what_was_asked_for(tmp_path):
    scans(tmp_path / "in", "a.b.nii.gz")
    (job,) = plan_jobs([tmp_path / "in"], tmp_path / "out", report=True, preview=True)
    found = run_job(job, bright)
    assert names_in(tmp_path / "out") == ["a.b.json", "a.b.nii.gz", "a.b.png"]
    np.testing.assert_array_equal(read_mask(job.mask).labels, found.mask.labels)
    assert json.loads(job.report.read_text()) == {"case": "a.b", **found.report}
    assert job.preview.read_bytes()[:4] == b"\x89PNG"


def test_a_job_writes_nothing_more(tmp_path):
    scans(tmp_path / "in", "a.nii")
    (job,) = plan_jobs([tmp_path / "in"], tmp_path / "out", report=False, preview=False)
    run_job(job, bright)
    assert names_in(tmp_path / "out") == ["a.nii"]


def test_a_job_that_fails_leaves_nothing(tmp_path):
    def refuse(scan: Scan) -> Segmentation:
        raise ServingError("the server must answer, got nothing")

    scans(tmp_path / "in", "a.nii")
    (job,) = plan_jobs([tmp_path / "in"], tmp_path / "out", report=True, preview=True)
    with pytest.raises(ServingError, match="must answer"):
        run_job(job, refuse)
    assert names_in(tmp_path / "out") == []


def test_scores_are_those_of_the_masks_of_one_name(tmp_path):
    truth = masks(tmp_path / "truth", "a.nii.gz", "b.nii.gz")
    predicted = masks(tmp_path / "predicted", "a.nii.gz", "other.nii.gz", "b.nii.gz")
    scores = score_folders(truth, predicted, tmp_path / "scores.json")
    assert scores["a"]["liver"]["dice"] == 1
    assert 0 < scores["b"]["liver"]["dice"] < 1
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["cases"] == scores
    assert written["summary"]["liver"]["cases"] == 2


def test_undefined_scores_are_null_in_the_file(tmp_path):
    empty = Mask(np.zeros(SHAPE, np.uint8), affine_of())
    for folder in ("truth", "predicted"):
        write_mask(empty, tmp_path / folder / "a.nii.gz")
    score_folders(tmp_path / "truth", tmp_path / "predicted", tmp_path / "scores.json")
    text = (tmp_path / "scores.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["cases"]["a"]["tumor"]["dice"] is None
    assert json.loads(text)["summary"]["tumor"]["both_empty"] == 1


def test_every_mask_that_cannot_be_scored_is_listed(tmp_path):
    truth = masks(tmp_path / "truth", "a.nii", "b.nii", "c.nii", "d.nii")
    predicted = masks(tmp_path / "predicted", "a.nii")
    labels = case_of()[1].labels
    write_mask(Mask(labels, affine_of(spacing=(1.5, 0.9, 3.0))), predicted / "b.nii")
    write_mask(Mask(labels[1:], affine_of()), predicted / "c.nii")
    with pytest.raises(DatasetError, match="3 problem") as caught:
        score_folders(truth, predicted, tmp_path / "scores.json")
    spacing, shape, missing = caught.value.problems
    assert spacing.startswith("b: mask must lie on the scan within 0.09 mm, got corners")
    assert shape == "c: mask grid must equal scan grid (19, 24, 13), got (18, 24, 13)"
    assert missing == "d: file must exist, got no d.nii"
    assert not (tmp_path / "scores.json").exists()


def test_two_masks_of_one_case_are_refused(tmp_path):
    truth = masks(tmp_path / "truth", "a.nii", "a.mha")
    with pytest.raises(DatasetError, match="a: must stand once, got more masks"):
        score_folders(truth, truth, tmp_path / "scores.json")


def test_a_folder_without_masks_is_refused(tmp_path):
    (tmp_path / "truth").mkdir()
    with pytest.raises(DatasetError, match=r"truth: must hold masks \(\.nii, .*\), got none"):
        score_folders(tmp_path / "truth", tmp_path, tmp_path / "scores.json")


def test_scores_that_cannot_be_written_are_found_before_any_work(tmp_path):
    with pytest.raises(OutputError, match="must be a file name, got a folder"):
        score_folders(tmp_path / "gone", tmp_path / "gone", tmp_path)
