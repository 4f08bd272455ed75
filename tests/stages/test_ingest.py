import json
from pathlib import Path

import numpy as np
import pytest

from builders import SHAPE, affine_of, case_of, save_lits
from dyntransnet.atomic import sha256_of
from dyntransnet.config import IngestParams, LabelParams
from dyntransnet.errors import DatasetError, OutputError
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import Mask, Scan, read_mask, read_scan
from dyntransnet.stages.ingest import run

OURS = LabelParams(liver=(1,), tumor=(2,), others="refused")


def ingest(source: Path, out: Path) -> None:
    params = IngestParams(layout="lits", source=source, modality="CT", labels=OURS)
    run(source, cases=out / "cases", manifest=out / "manifest.json", params=params)


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
        "segmentation-1: labels must be 0, 1 or 2, got 0, 1, 2, 7",
        "volume-2: mask grid must equal scan grid (19, 24, 13), got (18, 24, 13)",
        "volume-3: mask must lie on the scan within 0.01 mm, got corners 3 mm apart",
        "volume-4: voxels must be finite, got 1 NaN or infinite",
        "volume-5: volume-5.nii.gz must be a whole gzip file, got",
        "segmentation-6: segmentation-6.nii.gz must be a readable image, got",
    ]
    for problem, begin in zip(caught.value.problems, expected, strict=True):
        assert problem.startswith(begin)
    assert list((tmp_path / "out").rglob("*")) == []


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
