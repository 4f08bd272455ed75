"""Public scans that are not part of the project."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from dyntransnet.config import IngestParams, LabelParams, PreprocessParams
from dyntransnet.contract import IntensityZScore
from dyntransnet.errors import ScanError
from dyntransnet.imaging.checks import check_pair, check_scan
from dyntransnet.imaging.geometry import Placement, orientation_of, resample
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts import find_cases
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import read_mask, read_scan, spacing_of
from dyntransnet.learning.cache import CachedCase
from dyntransnet.scoring.metrics import dice
from dyntransnet.stages import ingest, preprocess
from dyntransnet.stages.preprocess import label_on_grid

DATA = Path(os.environ.get("DYNTRANSNET_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
LPS = ((0, 1, 2), (True, True, False))
LAS = ((0, 1, 2), (True, False, False))

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"needs real scans in {DATA} (set DYNTRANSNET_REAL_DATA)"
)


def part(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"needs {name} in {DATA}")
    return DATA / name


@pytest.mark.parametrize("number", range(6))
def test_lits_scans_and_masks_are_pairs_that_come_back_from_the_grid(number):
    case = next(case for case in find_cases(part("lits"), "lits") if case.id == f"volume-{number}")
    scan, mask = case.load()
    check_scan(scan)
    check_pair(scan, mask)
    placement = Placement.of(scan.voxels.shape, scan.affine, (2.5, 2.5, 2.5))
    grid = (label_on_grid(mask, placement) > 0).astype(np.float32)
    back = resample(placement.on_scan_axes(grid), placement.to_scan) >= 0.5
    assert dice(mask.labels > 0, back) > 0.95
    assert orientation_of(scan.affine) == LPS
    assert -200 <= scan.voxels.min() < scan.voxels.max() <= 240


def test_all_six_lits_cases_pair_up():
    assert [case.id for case in find_cases(part("lits"), "lits")] == [
        f"volume-{number}" for number in range(6)
    ]


@pytest.mark.parametrize(("number", "slices"), [(0, 75), (1, 123), (2, 517)])
def test_official_labels_have_the_volumes_of_a_liver(number, slices):
    mask = read_mask(part(f"lits-labels/segmentation-{number}.nii.gz"))
    assert mask.labels.shape == (512, 512, slices)
    assert orientation_of(mask.affine) == LAS
    assert 1000 < measure(mask).liver_ml < 3000


def test_the_mr_scan_keeps_its_place_and_values():
    scan = read_scan(part("mr/mr.nii.gz"))
    assert scan.voxels.shape == (117, 91, 20)
    assert spacing_of(scan.affine) == pytest.approx((3, 3, 3), abs=0.01)
    assert orientation_of(scan.affine) == LPS
    assert (scan.voxels.min(), scan.voxels.max()) == (-47, 833)


def test_the_mask_of_a_dicom_series_keeps_its_orientation():
    image = read_scan(part("dicom-ct/seg_multilabel.nii.gz"))
    assert image.voxels.shape == (512, 512, 20)
    assert orientation_of(image.affine) == LAS
    assert spacing_of(image.affine) == pytest.approx((0.977, 0.977, 2.0), abs=0.001)


def test_a_dicom_series_and_its_mask_agree_in_world_space(tmp_path):
    (tmp_path / "case").symlink_to(part("dicom-ct"))
    numbering = Numbering(liver=(5,), tumor=(), others="background")
    (case,) = find_cases(tmp_path, "auto", numbering=numbering)
    scan, mask = case.load()
    check_scan(scan)
    check_pair(scan, mask)
    stored = read_scan(part("dicom-ct/seg_multilabel.nii.gz"))
    assert orientation_of(scan.affine) == LPS
    assert orientation_of(stored.affine) == LAS
    assert spacing_of(scan.affine) == pytest.approx((0.977, 0.977, 2.0), abs=0.001)
    assert (scan.voxels.min(), scan.voxels.max()) == (-1024, 1839)
    np.testing.assert_array_equal(mask.labels[:, ::-1], stored.voxels == 5)
    assert 70 < np.median(scan.voxels[mask.labels > 0]) < 110  # a contrast CT's liver
    assert scan.voxels[mask.labels > 0].std() < 30
    assert scan.voxels[mask.labels[:, ::-1] > 0].std() > 100  # where it would lie mirrored


def test_a_dicom_segmentation_lies_on_the_liver_of_its_series(tmp_path):
    (tmp_path / "case").symlink_to(part("dicom-seg"))
    (case,) = find_cases(tmp_path, "auto")
    scan, mask = case.load()
    check_pair(scan, mask)
    assert scan.voxels.shape == (512, 512, 3)
    assert spacing_of(scan.affine) == pytest.approx((0.811, 0.811, 1.0), abs=0.001)
    assert mask.labels.max() == 1
    assert 30 < np.median(scan.voxels[mask.labels > 0]) < 60  # liver without contrast
    assert np.median(scan.voxels[mask.labels[:, ::-1] > 0]) < 30


def test_real_dicom_goes_through_ingest_and_tells_no_name(tmp_path):
    (tmp_path / "dicom").mkdir()
    for name in ("dicom-ct", "dicom-seg"):
        (tmp_path / "dicom" / name).symlink_to(part(name))
    labels = LabelParams(liver=(5,), tumor=(), others="background")
    params = IngestParams(layout="auto", source=tmp_path, modality="CT", labels=labels)
    out = tmp_path / "out"
    ingest.run(tmp_path / "dicom", cases=out / "cases", manifest=out / "m.json", params=params)
    rows = json.loads((out / "m.json").read_text())["cases"]
    assert sorted(row["shape"][2] for row in rows) == [3, 20]
    assert all(row["liver_ml"] > 10 and row["id"].startswith("case-") for row in rows)
    stored = [gzip.decompress(path.read_bytes()) for path in out.rglob("*.nii.gz")]
    for content in [*stored, (out / "m.json").read_bytes()]:
        assert not any(word in content for word in (b"JANCT", b"99000", b"SIEMENS", b"dicom-"))


def test_the_mr_scan_goes_through_ingest_and_preprocess(tmp_path):
    for folder, name in (("images", "mr.nii.gz"), ("masks", "seg_liver5.nii.gz")):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "one.nii.gz").symlink_to(part(f"mr/{name}"))
    labels = LabelParams(liver=(5,), tumor=(), others="refused")
    params = IngestParams(layout="auto", source=tmp_path, modality="MR", labels=labels)
    cases, manifest = tmp_path / "cases", tmp_path / "m.json"
    ingest.run(tmp_path / "data", cases=cases, manifest=manifest, params=params)
    rule = IntensityZScore(percentiles=(0.5, 99.5), deviations=3.0)
    grid = PreprocessParams(spacing_mm=(3.0, 3.0, 3.0), intensity=rule)
    preprocess.run(cases, tmp_path / "cache", grid)
    (row,) = json.loads(manifest.read_text())["cases"]
    assert (row["modality"], row["tumors"]) == ("MR", 0)
    assert row["liver_ml"] > 100
    case = CachedCase.open(tmp_path / "cache" / row["id"])
    liver = case.image[case.label > 0].astype(float)
    assert case.air == case.image.min() < np.quantile(liver, 0.05)  # this liver is dark, no air
    assert np.isfinite(case.image).all()
    assert 0.3 < case.image.max() <= 1


@pytest.mark.parametrize("name", ["mr/seg_liver5.nii.gz", "dicom-ct/seg_multilabel.nii.gz"])
def test_masks_with_other_labels_are_refused(name):
    with pytest.raises(ScanError, match=r"seg_.*: labels must be 0, 1 or 2, got 0, (1, .*)?5"):
        read_mask(part(name))
