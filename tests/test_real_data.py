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
from dyntransnet.imaging.checks.cases import find_problems
from dyntransnet.imaging.checks.grids import check_pair, check_scan
from dyntransnet.imaging.checks.labels import apart_from_liver
from dyntransnet.imaging.checks.twins import ALIKE, find_alike, thumbnail, voxels_sha256
from dyntransnet.imaging.geometry import Placement, orientation_of, resample
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts import find_cases
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import Scan, read_mask, read_scan, spacing_of
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


def test_no_rule_is_broken_by_the_lits_scans_and_none_is_anothers_copy():
    pictures, hashes = {}, set()
    for case in find_cases(part("lits"), "lits"):
        scan, mask = case.load()
        assert find_problems(case.id, scan, mask, "CT") == []
        pictures[case.id] = thumbnail(scan, "CT").ravel()
        hashes.add(voxels_sha256(scan))
    assert len(hashes) == 6
    found = np.corrcoef(list(pictures.values())) - np.eye(6)
    assert 0.9 < found[0, 1] < ALIKE  # perhaps one patient, and surely two scans
    found[0, 1] = found[1, 0] = 0
    assert found.max() < 0.85


@pytest.mark.parametrize("number", [1, 3])
def test_a_changed_copy_of_a_lits_scan_is_a_near_duplicate(number):
    scan = read_scan(part(f"lits/volume-{number}.nii.gz"))
    noise = np.random.default_rng(0).normal(0, 20, scan.voxels.shape)
    step = np.diag([2.0, 2.0, 1.0, 1.0])
    copies = {
        "whole": scan,
        "noise": Scan("noise", (scan.voxels + noise).astype(np.float32), scan.affine),
        "half": Scan("half", np.ascontiguousarray(scan.voxels[::2, ::2]), scan.affine @ step),
        "turned": Scan("turned", scan.voxels[:, ::-1].copy(), flipped_y(scan)),
        "cut": Scan("cut", scan.voxels[7:, :-9, 2:].copy(), scan.affine),
    }
    found = find_alike({name: thumbnail(copy, "CT") for name, copy in copies.items()})
    assert {pair.other for pair in found if pair.one == "whole"} == {*copies} - {"whole"}
    assert voxels_sha256(copies["turned"]) == voxels_sha256(scan)


def flipped_y(scan: Scan) -> np.ndarray:
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (scan.voxels.shape[1] - 1)
    affine[:3, 1] *= -1
    return affine


@pytest.mark.parametrize("number", range(3))
def test_tumors_of_the_official_labels_are_in_their_livers(number):
    assert apart_from_liver(read_mask(part(f"lits-labels/segmentation-{number}.nii.gz"))) == []


def test_a_real_scan_whose_offset_was_forgotten_is_refused():
    case = next(case for case in find_cases(part("lits"), "lits") if case.id == "volume-4")
    scan, mask = case.load()
    stored = Scan(scan.id, scan.voxels + np.int16(1024), scan.affine)
    codes = [problem.code for problem in find_problems(case.id, stored, mask, "CT")]
    assert codes == ["not-hounsfield", "hounsfield-no-fat"]


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
    params = IngestParams(
        layout="auto", source=tmp_path, modality="CT", labels=labels, on_problem="stop"
    )
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
    params = IngestParams(
        layout="auto", source=tmp_path, modality="MR", labels=labels, on_problem="stop"
    )
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
