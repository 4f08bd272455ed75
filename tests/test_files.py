import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from builders import SHAPE, case_of, contract_of
from dyntransnet.errors import OutputError, ScanError
from dyntransnet.files import plan_jobs, write_results
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.scan import Scan, read_mask, read_scan, write_scan
from dyntransnet.imaging.segment import Segmentation


def bright(scan: Scan) -> Segmentation:
    return answer(
        scan, lambda w: np.concatenate([9 * w, 9 * (w - 0.5)], axis=1), contract_of()
    )  # fmt: skip


def scans(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_scan(case_of(seed=seed)[0], folder / name)
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
    scan = read_scan(job.scan)
    write_results(job, scan, bright(scan))
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
    scan = read_scan(job.scan)
    found = bright(scan)
    write_results(job, scan, found)
    assert names_in(tmp_path / "out") == ["a.b.json", "a.b.nii.gz", "a.b.png"]
    np.testing.assert_array_equal(read_mask(job.mask).labels, found.mask.labels)
    assert json.loads(job.report.read_text()) == {"case": "a.b", **found.report}
    assert job.preview.read_bytes()[:4] == b"\x89PNG"


def test_a_job_writes_nothing_more(tmp_path):
    scans(tmp_path / "in", "a.nii")
    (job,) = plan_jobs([tmp_path / "in"], tmp_path / "out", report=False, preview=False)
    scan = read_scan(job.scan)
    write_results(job, scan, bright(scan))
    assert names_in(tmp_path / "out") == ["a.nii"]
