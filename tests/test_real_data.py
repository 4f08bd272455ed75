"""Public scans that are not part of the project."""

import os
from pathlib import Path

import numpy as np
import pytest

from dyntransnet.errors import ScanError
from dyntransnet.imaging.checks.grids import check_pair, check_scan
from dyntransnet.imaging.geometry import Placement, orientation_of, resample
from dyntransnet.imaging.layouts import find_cases
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import read_mask, read_scan, spacing_of
from dyntransnet.scoring.metrics import dice
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


@pytest.mark.parametrize("name", ["mr/seg_liver5.nii.gz", "dicom-ct/seg_multilabel.nii.gz"])
def test_masks_with_other_labels_are_refused(name):
    with pytest.raises(ScanError, match=r"seg_.*: labels must be 0, 1 or 2, got 0, (1, .*)?5"):
        read_mask(part(name))
