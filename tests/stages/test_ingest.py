import json
from pathlib import Path

import numpy as np
import pytest

from builders import SHAPE, affine_of, case_of, save_lits
from dyntransnet.atomic import sha256_of
from dyntransnet.config import IngestParams, LabelParams
from dyntransnet.errors import DatasetError, OutputError
from dyntransnet.imaging.checks.twins import voxels_sha256
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import Mask, Scan, read_mask, read_scan, write_mask, write_scan
from dyntransnet.stages.ingest import run

OURS = LabelParams(liver=(1,), tumor=(2,), others="refused")


def ingest(source: Path, out: Path, *, on_problem: str = "stop") -> dict:
    """Take a dataset in; its manifest."""
    params = IngestParams(
        layout="lits", source=source, modality="CT", labels=OURS, on_problem=on_problem
    )
    places = {"cases": out / "cases", "manifest": out / "manifest.json"}
    run(source, **places, problems=out / "problems.json", params=params)
    return json.loads((out / "manifest.json").read_text())


def problems_in(out: Path) -> dict[str, str]:
    return {each["case"]: each["code"] for each in json.loads((out / "problems.json").read_text())}


def with_label(mask: Mask, label: int) -> Mask:
    labels = mask.labels.copy()
    labels[0, 0, 0] = label
    return Mask(labels, mask.affine)


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Two sound cases, the second oblique."""
    save_lits(tmp_path / "lits", 0, *case_of(seed=0))
    affine = affine_of(code="LPS", tilt_deg=5)
    save_lits(tmp_path / "lits" / "batch 2", 11, *case_of(affine=affine, seed=1), suffix=".nii")
    return tmp_path / "lits"


def test_cases_are_stored_one_way_and_described(dataset, tmp_path, capsys):
    ingest(dataset, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [row["id"] for row in manifest["cases"]] == ["volume-0", "volume-11"]
    assert capsys.readouterr().out == "ingest: 2 cases, 2 with tumors\n"
    for row, seed in zip(manifest["cases"], (0, 1), strict=True):
        folder = tmp_path / "out" / "cases" / row["id"]
        scan, mask = case_of(seed=seed)
        np.testing.assert_array_equal(read_scan(folder / "scan.nii.gz").voxels, scan.voxels)
        np.testing.assert_array_equal(read_mask(folder / "mask.nii.gz").labels, mask.labels)
        assert row["shape"] == list(SHAPE)
        assert row["spacing_mm"] == pytest.approx([1.5, 0.9, 4.0], abs=1e-4)
        assert row["liver_ml"] == pytest.approx(measure(mask).liver_ml, abs=1e-3)
        assert row["tumors"] == len(measure(mask).lesions)
        assert row["mask_sha256"] == sha256_of(folder / "mask.nii.gz")
        assert row["voxels_sha256"] == voxels_sha256(read_scan(folder / "scan.nii.gz"))
        assert (row["geometry_trusted"], row["warnings"]) == (True, [])
    assert (manifest["quarantined"], manifest["alike"]) == ([], [])
    assert json.loads((tmp_path / "out" / "problems.json").read_text()) == []


def test_every_bad_case_is_listed_and_nothing_is_written(dataset, tmp_path):
    scan, mask = case_of()
    moved = mask.affine.copy()
    moved[2, 3] += 3.0
    save_lits(dataset, 1, scan, with_label(mask, 7))
    save_lits(dataset, 2, scan, Mask(mask.labels[:-1], mask.affine))
    save_lits(dataset, 3, scan, Mask(mask.labels, moved))
    voxels = scan.voxels.astype(np.float32)
    voxels[4, 5, 6] = np.nan
    save_lits(dataset, 4, Scan("nan", voxels, scan.affine), mask)
    save_lits(dataset, 5, scan, mask)
    cut = dataset / "volume-5.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-100])
    save_lits(dataset, 6, scan, mask)
    (dataset / "segmentation-6.nii.gz").write_text("no image")

    with pytest.raises(DatasetError, match="6 problem") as caught:
        ingest(dataset, tmp_path / "out")
    expected = [
        "volume-1  stop  label-unknown  segmentation-1: labels must be 0, 1 or 2, got 0, 1, 2, 7",
        "volume-2  stop  mask-shape     mask grid must equal scan grid (19, 24, 13), got (18, ",
        "volume-3  stop  mask-off-grid  mask must lie on the scan within 0.09 mm, got corners 3 mm",
        "volume-4  stop  not-finite     voxels must be finite, got 1 NaN or infinite",
        "volume-5  stop  gzip-damaged   volume-5.nii.gz must be a whole gzip file, got",
        "volume-6  stop  unreadable     segmentation-6: segmentation-6.nii.gz must be a readable",
    ]
    for problem, begin in zip(caught.value.problems, expected, strict=True):
        assert problem.startswith(begin)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["problems.json"]
    assert problems_in(tmp_path / "out") == {
        f"volume-{number}": line.split()[2] for number, line in enumerate(expected, start=1)
    }


def test_bad_cases_leave_an_older_dataset_as_it_was(dataset, tmp_path):
    older = tmp_path / "out" / "cases" / "volume-0"
    older.mkdir(parents=True)
    (tmp_path / "out" / "manifest.json").write_text("old")
    scan, mask = case_of()
    save_lits(dataset, 1, scan, with_label(mask, 7))
    with pytest.raises(DatasetError, match="1 problem"):
        ingest(dataset, tmp_path / "out")
    assert older.is_dir()
    assert (tmp_path / "out" / "manifest.json").read_text() == "old"


def test_a_manifest_that_cannot_be_written_is_found_before_any_work(dataset, tmp_path):
    (tmp_path / "out" / "manifest.json").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"manifest\.json: must be a file name, got a folder"):
        ingest(dataset, tmp_path / "out")
    assert not (tmp_path / "out" / "cases").exists()


def test_bad_cases_can_be_left_out_and_named(dataset, tmp_path, capsys):
    scan, mask = case_of(seed=2)
    save_lits(dataset, 1, scan, with_label(mask, 7))
    (dataset / "batch 2" / "volume-11.nii").write_bytes(b"")
    save_lits(dataset, 2, scan, mask)
    manifest = ingest(dataset, tmp_path / "out", on_problem="quarantine")
    assert [row["id"] for row in manifest["cases"]] == ["volume-0", "volume-2"]
    left_out = {each["case"]: each["code"] for each in manifest["quarantined"]}
    assert left_out == {"volume-1": "label-unknown", "volume-11": "unreadable"}
    assert problems_in(tmp_path / "out") == left_out
    folders = sorted(path.name for path in (tmp_path / "out" / "cases").iterdir())
    assert folders == ["volume-0", "volume-2"]
    assert manifest["fingerprint"]["cases"] == 2
    assert capsys.readouterr().out.endswith("ingest: 2 cases, 2 with tumors, 2 left out\n")


def test_where_no_case_is_left_nothing_is_written(dataset, tmp_path):
    for path in dataset.rglob("segmentation-*"):
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"2 problem\(s\) found, nothing was written"):
        ingest(dataset, tmp_path / "out", on_problem="quarantine")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["problems.json"]


def test_a_broken_layout_is_listed_too(dataset, tmp_path):
    (dataset / "segmentation-0.nii.gz").unlink()
    with pytest.raises(DatasetError, match="volume-0  stop  layout  must have a segmentation-0"):
        ingest(dataset, tmp_path / "out", on_problem="quarantine")
    assert problems_in(tmp_path / "out") == {"volume-0": "layout"}


@pytest.mark.parametrize(
    ("layout", "modality", "found"),
    [
        ("msd", "CT", {"dataset.json": "layout"}),
        ("plain", "CT", {"lits": "layout"}),
        ("dicom", "CT", {"lits": "layout"}),
        ("phantom", "CT", {"SOURCE": "layout"}),
        ("lits", "MR", {"volume-0": "modality-other", "volume-11": "modality-other"}),
    ],
)
def test_what_is_wrong_before_any_case_is_read_has_a_code_too(
    dataset, tmp_path, layout, modality, found
):
    values = {"layout": layout, "modality": modality, "labels": OURS, "on_problem": "quarantine"}
    places = {name: tmp_path / "out" / f"{name}.json" for name in ("manifest", "problems")}
    with pytest.raises(DatasetError, match=r"problem\(s\) found, nothing was written"):
        run(
            dataset,
            cases=tmp_path / "out" / "cases",
            **places,
            params=IngestParams(source=dataset, **values),
        )
    expected = {str(dataset) if case == "SOURCE" else case: code for case, code in found.items()}
    assert problems_in(tmp_path / "out") == expected


def test_scans_of_mri_are_held_to_no_hounsfield_units(tmp_path):
    scan, mask = case_of()
    bright = Scan("bright", scan.voxels + np.int16(1500), scan.affine)
    for folder, name in (("imagesTr", "im1"), ("labelsTr", "lb1")):
        path = tmp_path / "atlas" / folder / f"{name}.nii.gz"
        write_scan(bright, path) if name == "im1" else write_mask(mask, path)
    params = IngestParams(
        layout="auto", source=tmp_path, modality="MR", labels=OURS, on_problem="stop"
    )
    manifest = tmp_path / "manifest.json"
    run(tmp_path / "atlas", cases=tmp_path / "cases", manifest=manifest, params=params)
    found = json.loads(manifest.read_text())
    assert [(row["modality"], row["warnings"]) for row in found["cases"]] == [("MR", [])]
    assert found["layout"] == "atlas"  # and not auto: versions are called after it
    assert found["fingerprint"]["modality"] == "MR"
    assert found["fingerprint"]["foreground"]["p00_5"] > 1000


def test_a_scan_under_two_names_is_refused_or_taken_once(dataset, tmp_path):
    scan, mask = case_of(seed=0)
    save_lits(dataset, 5, Scan("copy", scan.voxels.astype(np.float32), scan.affine), mask)
    with pytest.raises(
        DatasetError, match=r"volume-5  stop  same-scan-twice .* got the voxels of volume-0"
    ):
        ingest(dataset, tmp_path / "out")
    manifest = ingest(dataset, tmp_path / "out", on_problem="quarantine")
    assert [row["id"] for row in manifest["cases"]] == ["volume-0", "volume-11"]
    assert not (tmp_path / "out" / "cases" / "volume-5").exists()


def test_scans_that_look_alike_are_told_of_and_kept(dataset, tmp_path, capsys):
    scan, mask = case_of(seed=0)
    voxels = scan.voxels.copy()
    voxels[9, 12, 6] += 40
    save_lits(dataset, 5, Scan("almost", voxels, scan.affine), mask)
    manifest = ingest(dataset, tmp_path / "out")
    assert len(manifest["cases"]) == 3
    (pair,) = manifest["alike"]
    assert pair["cases"] == ["volume-0", "volume-5"]
    assert 0.99 < pair["correlation"] <= 1
    assert problems_in(tmp_path / "out") == {"volume-5": "near-duplicate"}
    assert "volume-5  warn  near-duplicate" in capsys.readouterr().out


def test_what_has_lost_its_spacing_is_marked_and_counts_for_no_millimeters(dataset, tmp_path):
    scan, mask = case_of(seed=3)
    lost = np.eye(4)
    save_lits(dataset, 28, Scan("lost", scan.voxels, lost), Mask(mask.labels, lost))
    manifest = ingest(dataset, tmp_path / "out")
    rows = {row["id"]: row for row in manifest["cases"]}
    assert [row["geometry_trusted"] for row in rows.values()] == [True, True, False]
    assert rows["volume-28"]["warnings"] == ["spacing-missing"]
    found = manifest["fingerprint"]
    assert (found["cases"], found["cases_trusted"]) == (3, 2)
    assert [along["high"] for along in found["spacing_mm"]] == pytest.approx(
        [1.5, 0.9, 4], abs=1e-3
    )


def test_a_mask_all_but_on_its_scan_is_moved_onto_it(dataset, tmp_path):
    scan, mask = case_of(seed=4)
    beside = mask.affine.copy()
    beside[0, 3] += 0.05
    save_lits(dataset, 3, scan, Mask(mask.labels, beside))
    ingest(dataset, tmp_path / "out")
    assert problems_in(tmp_path / "out") == {"volume-3": "mask-snapped"}
    stored = tmp_path / "out" / "cases" / "volume-3"
    one, other = read_scan(stored / "scan.nii.gz"), read_mask(stored / "mask.nii.gz")
    np.testing.assert_array_equal(one.affine, other.affine)
    np.testing.assert_array_equal(other.labels, mask.labels)


@pytest.mark.parametrize("on_problem", ["stop", "quarantine"])
def test_a_problems_file_that_cannot_be_written_is_found_before_any_work(
    dataset, tmp_path, on_problem
):
    (tmp_path / "out" / "problems.json").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"problems\.json: must be a file name, got a folder"):
        ingest(dataset, tmp_path / "out", on_problem=on_problem)
    assert not (tmp_path / "out" / "cases").exists()
