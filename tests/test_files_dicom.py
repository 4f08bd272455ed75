"""DICOM series in, DICOM or NIfTI out, through the jobs that every scan goes through."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from builders import contract_of
from dicoms import WORLD, save_series
from dyntransnet import batch
from dyntransnet.errors import OutputError
from dyntransnet.files import Job, plan_jobs
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.dicom.segments import read_segments
from dyntransnet.imaging.scan import Scan, read_mask, write_scan
from dyntransnet.imaging.segment import Segmentation
from hospital import CLINICAL, SECRETS, scan_of
from jobs import run_jobs
from models import save_model, threshold_model
from test_cli import error_of, run

FOLDER = "Doe_Jane_MRN-4711"
CASE = re.compile(r"case-[0-9a-f]{10}")


def bright(scan: Scan) -> Segmentation:
    return answer(
        scan, lambda w: np.concatenate([9 * w, 9 * (w - 0.5)], axis=1), contract_of()
    )  # fmt: skip


def study(root: Path, count: int = 1, **tags: object) -> Path:
    for number in range(1, count + 1):
        scan = scan_of("ASL", 14.0, seed=number)
        save_series(root / FOLDER / str(number), scan, series=number, **CLINICAL | tags)
    return root / FOLDER


def zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as file:
        for path in folder.rglob("*"):
            file.write(path, path.relative_to(folder.parent))
    return target


def planned(source: Path, output: Path, **options: object) -> list[Job]:
    return plan_jobs([source], output, **{"report": False, "preview": False} | options)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped])
def test_each_series_of_a_tree_gets_all_that_was_asked_for(tmp_path, pack):
    source = pack(study(tmp_path, 3))
    jobs = planned(source, tmp_path / "out", report=True, preview=True)
    done = list(run_jobs(jobs, bright))
    cases = [job.scan.id for job, _ in done]
    assert len({*cases}) == 3
    assert all(CASE.fullmatch(case) for case in cases)
    assert names_in(tmp_path / "out") == sorted(
        case + suffix for case in cases for suffix in (".dcm", ".sr.dcm", ".json", ".png")
    )
    for job, found in done:
        scan = job.scan.read(for_dicom=False)
        back = read_segments([job.mask], scan, WORLD, "case")
        np.testing.assert_array_equal(back.labels, found.mask.labels)
        assert back.labels.max() == 2
        told = json.loads(job.report.read_text())
        assert told == {"case": job.scan.id, **found.report}
        report = pydicom.dcmread(job.structured)
        assert report.StudyInstanceUID == pydicom.dcmread(job.mask).StudyInstanceUID


@pytest.mark.parametrize("name", ["liver.dcm", "LIVER.DCM", "deep.er/liver.dcm"])
def test_one_series_may_become_one_named_file(tmp_path, name):
    target = tmp_path / "out" / name
    (job,) = planned(study(tmp_path), target, report=True)
    list(run_jobs([job], bright))
    stem = target.stem
    assert names_in(target.parent) == sorted([target.name, f"{stem}.json", f"{stem}.sr.dcm"])
    assert pydicom.dcmread(target).Modality == "SEG"


@pytest.mark.parametrize("name", ["liver.nii.gz", "liver.nrrd", "liver.mha"])
def test_a_series_may_be_answered_as_an_image(tmp_path, name):
    (job,) = planned(study(tmp_path), tmp_path / "out" / name, report=True)
    ((_, found),) = run_jobs([job], bright)
    back = read_mask(tmp_path / "out" / name)
    np.testing.assert_array_equal(back.labels, found.mask.labels)
    np.testing.assert_allclose(back.affine, found.mask.affine, atol=1e-4)
    assert names_in(tmp_path / "out") == sorted([name, "liver.json"])


def test_images_and_series_may_stand_in_one_call(tmp_path):
    write_scan(scan_of(), tmp_path / "a.nii.gz")
    sources = [tmp_path / "a.nii.gz", study(tmp_path)]
    jobs = plan_jobs(sources, tmp_path / "out", report=False, preview=False)
    list(run_jobs(jobs, bright))
    one, other = names_in(tmp_path / "out")
    assert one == "a.nii.gz"
    assert CASE.fullmatch(other.removesuffix(".dcm"))


def test_several_series_never_go_into_one_file(tmp_path):
    with pytest.raises(OutputError, match=r"x\.dcm: must be a folder for 2 scans, got the name"):
        planned(study(tmp_path, 2), tmp_path / "x.dcm")


def test_an_image_has_no_patient_to_answer_in_dicom(tmp_path):
    write_scan(scan_of(), tmp_path / "a.nii.gz")
    with pytest.raises(OutputError, match=r"x\.dcm: extension must be one of \.nii, .*got x\.dcm"):
        planned(tmp_path / "a.nii.gz", tmp_path / "x.dcm")


def test_one_series_given_twice_is_refused(tmp_path):
    folder = study(tmp_path)
    with pytest.raises(OutputError, match=rf"name, got {CASE.pattern} twice"):
        plan_jobs([folder, zipped(folder)], tmp_path / "out", report=False, preview=False)


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped])
def test_an_answer_never_replaces_what_it_answers(tmp_path, pack):
    source = pack(study(tmp_path))
    files = [path for path in source.rglob("*") if path.is_file()] or [source]
    target = files[0].rename(files[0].with_suffix(".dcm"))
    source = source if source.exists() else target
    with pytest.raises(OutputError, match=r"must not be the scan itself, got the same file"):
        planned(source, target)


def test_without_highdicom_only_dicom_out_is_refused_before_any_work(tmp_path, monkeypatch):
    folder = study(tmp_path)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(
        OutputError, match=r"^highdicom must be installed .*pip install 'dyntransnet\[client\]'"
    ):
        planned(folder, tmp_path / "out")
    (job,) = planned(folder, tmp_path / "out" / "x.nii.gz")
    list(run_jobs([job], bright))
    assert names_in(tmp_path / "out") == ["x.nii.gz"]


@pytest.mark.parametrize(("fails", "left"), [(1, []), (2, [".dcm"])])
def test_a_full_disk_leaves_whole_files_or_none(tmp_path, monkeypatch, fails, left):
    whole, calls = pydicom.Dataset.save_as, []

    def full(self, path, **options):
        calls.append(path)
        whole(self, path, **options)
        if len(calls) == fails:
            path.write_bytes(path.read_bytes()[:999])
            raise OSError(28, "No space left on device")

    jobs = planned(study(tmp_path), tmp_path / "out", report=True)
    monkeypatch.setattr(pydicom.Dataset, "save_as", full)
    with pytest.raises(OutputError, match=r"dcm: must be writable, got No space left on device"):
        list(run_jobs(jobs, bright))
    assert names_in(tmp_path / "out") == [jobs[0].scan.id + suffix for suffix in left]


def test_a_bad_series_does_not_stop_the_others(tmp_path):
    folder = study(tmp_path, 3)
    jobs = planned(folder, tmp_path / "out")
    bad = jobs[1].scan
    path = bad.origin / bad.headers[5].path
    path.write_bytes(path.read_bytes()[:-10])
    (failed,) = [one for one in batch.run_jobs(jobs, bright) if one.error]
    rule = rf"{bad.id}: slice \d+ of 13 must have 912 bytes of pixels"
    assert failed.job is jobs[1]
    assert re.match(rule, str(failed.error))
    assert names_in(tmp_path / "out") == sorted(jobs[at].mask.name for at in (0, 2))


def test_a_series_is_as_large_as_its_voxels(tmp_path):
    (job,) = planned(study(tmp_path), tmp_path / "out")
    assert job.scan_bytes() == job.read().voxels.nbytes == 2 * np.prod(job.scan.shape)


def test_the_command_line_tells_no_name_and_leaves_nothing_behind(tmp_path, monkeypatch):
    save_model(tmp_path / "model", threshold_model(0.2, 0.7))
    source = zipped(study(tmp_path, 2)).rename(tmp_path / "export.zip")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    options = ("--output", "out", "--model", "model", "--report", "--preview", "--fast")
    finished = run("segment", source, *options, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert len(lines) == 2
    assert all(re.match(rf"out/{CASE.pattern}\.dcm: liver \d+ ml, tumor", line) for line in lines)
    assert finished.stderr == "2 done, 0 done before, 0 failed\n"
    assert list((tmp_path / "tmp").iterdir()) == []
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for name, content in written.items():
        if name.endswith(".dcm"):
            assert pydicom.dcmread(tmp_path / "out" / name).PatientName == "Doe^Jane"
        else:
            assert not any(secret.encode() in content for secret in SECRETS)
    assert len(written) == 9  # with the hidden list of what was made of what


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda root: study(root, slide_mm=2.0), "slices must be stacked at right angles, got"),
        (lambda root: study(root, modality="MR"), "must hold a CT series of at least 2 slices"),
    ],
)
def test_a_series_that_cannot_be_used_is_one_line(tmp_path, make, rule):
    save_model(tmp_path / "model", threshold_model(0.2, 0.7))
    make(tmp_path).rename(tmp_path / "in")
    finished = run("segment", "in", "--output", "x.dcm", "--model", "model", cwd=tmp_path)
    told = error_of(finished)
    assert rule in told
    assert not any(secret in told for secret in SECRETS)
    assert not (tmp_path / "x.dcm").exists()
    assert not list(tmp_path.glob(".partial*"))


def test_reading_series_needs_neither_highdicom_nor_a_training_stack():
    heavy = {"torch", "monai", "mlflow", "highdicom", "tritonclient"}
    code = f"import sys, dyntransnet.files; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_writing_dicom_needs_no_training_stack(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from hospital import answered, scan_of\n"
        "answered(Path(sys.argv[2]), scan_of())\n"
        "print(sorted({'torch', 'monai', 'mlflow', 'tritonclient'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "x")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
