import json

import numpy as np
import pytest

from builders import CENTER, SHAPE, affine_of, case_of, contract_of, distance_to
from dyntransnet.config import PreprocessParams
from dyntransnet.contract import IntensityWindow, IntensityZScore
from dyntransnet.imaging.geometry import Placement, resample
from dyntransnet.imaging.intensity import normalize
from dyntransnet.imaging.scan import Mask, write_mask, write_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.learning.cache import CachedCase, cut
from dyntransnet.scoring.metrics import dice
from dyntransnet.stages.preprocess import CENTERS_KEPT, label_on_grid, run
from dyntransnet.stages.preprocess import _centers as centers_of

RULE = IntensityWindow(low_hu=-160, high_hu=240)
ZSCORE = IntensityZScore(percentiles=(0.5, 99.5), deviations=3)
PARAMS = PreprocessParams(spacing_mm=(2.0, 3.0, 2.5), intensity=RULE)
GRIDS = {"volume-0": affine_of(), "volume-1": affine_of(code="PIR", tilt_deg=6)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Two cases of one content on two grids."""
    root = tmp_path_factory.mktemp("preprocess")
    for name, affine in GRIDS.items():
        scan, mask = case_of(affine=affine)
        write_scan(scan, root / "cases" / name / "scan.nii.gz")
        write_mask(mask, root / "cases" / name / "mask.nii.gz")
    run(root / "cases", root / "cache", PARAMS)
    return root / "cache"


@pytest.mark.parametrize("name", GRIDS)
def test_images_are_what_the_network_will_be_fed(cache, name):
    scan, _ = case_of(affine=GRIDS[name])
    volume = Placement.of(SHAPE, scan.affine, PARAMS.spacing_mm).volume_of(scan.voxels)
    image = np.load(cache / name / "image.npy", mmap_mode="r")
    expected = normalize(volume, RULE)
    np.testing.assert_allclose(image, expected, atol=2e-3)  # float16 and NIfTI's float32 affine
    assert image.dtype == np.float16


@pytest.mark.parametrize("name", GRIDS)
def test_labels_lie_on_the_grid_of_the_image(cache, name):
    image, label = (np.load(cache / name / f"{part}.npy") for part in ("image", "label"))
    assert label.shape == image.shape
    assert (label.dtype, set(np.unique(label))) == (np.uint8, {0, 1, 2})


@pytest.mark.parametrize(("part", "label"), [("liver", 1), ("tumor", 2)])
def test_windows_are_centered_on_voxels_of_their_class(cache, part, label):
    inside = np.load(cache / "volume-1" / "label.npy") >= label
    centers = np.load(cache / "volume-1" / f"{part}.npy")
    assert len(centers) == inside.sum()
    assert inside[tuple(centers.T)].all()


def test_the_cache_says_what_it_was_made_with(cache):
    assert json.loads((cache / "grid.json").read_text()) == {
        "spacing_mm": [2.0, 3.0, 2.5],
        "intensity": {"kind": "window", "low_hu": -160.0, "high_hu": 240.0},
    }
    assert sorted(path.name for path in cache.iterdir()) == ["grid.json", *GRIDS]


@pytest.mark.parametrize("rule", [RULE, ZSCORE], ids=lambda rule: rule.kind)
def test_a_served_network_sees_what_it_was_trained_on(tmp_path, rule):
    """One window holds the whole volume, so that what is around it is seen too."""
    scan, mask = case_of(affine=GRIDS["volume-1"])
    write_scan(scan, tmp_path / "cases/a/scan.nii.gz")
    write_mask(mask, tmp_path / "cases/a/mask.nii.gz")
    run(tmp_path / "cases", tmp_path / "cache", PARAMS.model_copy(update={"intensity": rule}))
    case = CachedCase.open(tmp_path / "cache/a")
    edge = tuple(size + 3 for size in case.image.shape)
    contract = contract_of(
        intensity=rule, modality=rule.modality, spacing_mm=PARAMS.spacing_mm, patch_size=edge
    )
    seen = []
    segment(scan, lambda windows: seen.append(windows) or np.repeat(windows, 2, axis=1), contract)
    middle = np.array(case.image.shape) // 2
    np.testing.assert_allclose(seen[0][0, 0], cut(case, middle, edge)[0], atol=2e-3)


@pytest.mark.parametrize("code", ["RAS", "LPS", "SRP"])
def test_labels_on_the_grid_give_the_mask_back(code):
    shape, spacing = (60, 70, 40), (1.4, 1.1, 2.5)
    affine = affine_of(shape, spacing, code, tilt_deg=10)
    labels = sum((distance_to(shape, affine, CENTER) < r).astype(np.uint8) for r in (32, 15))
    placement = Placement.of(shape, affine, (2.5, 2.5, 2.5))
    grid = label_on_grid(Mask(labels, affine), placement)
    for label in (1, 2):
        volume = placement.on_scan_axes((grid >= label).astype(np.float32))
        back = resample(volume, placement.to_scan) >= 0.5
        assert dice(labels >= label, back) > 0.95


def test_tumor_on_the_grid_lies_within_the_liver():
    labels = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    placement = Placement.of(SHAPE, affine_of(), (2.0, 3.0, 2.5))
    liver = Mask(np.where(labels > 0, 1, 0).astype(np.uint8), affine_of())
    both = label_on_grid(Mask(labels, affine_of()), placement)
    np.testing.assert_array_equal(both > 0, label_on_grid(liver, placement) > 0)


@pytest.mark.parametrize("edge", [30, 40, 60])
def test_the_number_of_centers_is_bounded_and_they_are_spread(edge):
    centers = centers_of(np.ones((edge, edge, edge), bool))
    assert len(centers) < 2 * CENTERS_KEPT
    assert len(centers) >= min(edge**3, CENTERS_KEPT)
    assert centers.min(axis=0).tolist() == [0, 0, 0]
    assert centers.max() == edge - 1
