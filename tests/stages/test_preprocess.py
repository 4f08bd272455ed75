import json
import re
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from builders import CENTER, SHAPE, affine_of, case_of, contract_of, distance_to
from dyntransnet import workers
from dyntransnet.config import PreprocessParams
from dyntransnet.contract import IntensityWindow, IntensityZScore
from dyntransnet.errors import DatasetError, OutputError
from dyntransnet.imaging import nifti
from dyntransnet.imaging.geometry import Placement, resample
from dyntransnet.imaging.intensity import normalize
from dyntransnet.imaging.scan import Mask, Scan, write_mask, write_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.learning.cache import CachedCase, cut
from dyntransnet.scoring.metrics import dice
from dyntransnet.stages import preprocess
from dyntransnet.stages.preprocess import CENTERS_KEPT, bytes_needed, label_on_grid, run
from dyntransnet.stages.preprocess import _centers as centers_of
from dyntransnet.stages.preprocess import _problem_with as run_one

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


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_cache_is_the_same_whatever_the_number_of_workers(cache, tmp_path, workers):
    run(cache.parent / "cases", tmp_path / "cache", PARAMS, workers=workers)
    assert files_in(tmp_path / "cache") == files_in(cache)


def test_one_line_says_how_many_run_at_a_time(cache, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    run(cache.parent / "cases", tmp_path / "cache", PARAMS)
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"preprocess: 2 at a time; the largest takes 0\.0 GiB, \d+\.\d are free", first
    )
    assert last == "preprocess: 2 cases at 2.0 x 3.0 x 2.5 mm"


def test_every_case_that_cannot_be_read_is_named_and_nothing_is_written(cache, tmp_path):
    shutil.copytree(cache.parent / "cases", tmp_path / "cases")
    stored = tmp_path / "cases" / "volume-1" / "scan.nii.gz"
    stored.write_bytes(stored.read_bytes()[:-30])
    (tmp_path / "cases" / "volume-0" / "mask.nii.gz").unlink()
    (tmp_path / "cases" / "volume-2").mkdir()
    with pytest.raises(DatasetError) as caught:
        run(tmp_path / "cases", tmp_path / "cache", PARAMS)
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "volume-0, mask", "volume-1", "volume-2",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["cases"]


def test_a_case_that_memory_has_no_room_for_is_named(cache, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(preprocess, "normalize", full)
    with pytest.raises(DatasetError, match="volume-0: must fit in memory, got none left"):
        run(cache.parent / "cases", tmp_path / "cache", PARAMS)
    assert not any(tmp_path.iterdir())


def test_a_full_disk_ends_in_one_line(cache, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preprocess.np, "save", full)
    with pytest.raises(OutputError, match="cache: must be writable, got No space left"):
        run(cache.parent / "cases", tmp_path / "cache", PARAMS)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("spacing", [(3.0, 2.5, 4.0), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize(("rule", "kind"), [(RULE, np.int16), (ZSCORE, np.float32)])
def test_a_case_takes_no_more_memory_than_is_reckoned(tmp_path, monkeypatch, rule, spacing, kind):
    """NumPy's part, ITK's own copy of the voxels added."""
    monkeypatch.setattr(nifti, "PIECE", 2**12)
    monkeypatch.setattr(preprocess, "FIXED_BYTES", 0)
    shape = (60, 52, 44)
    scan, mask = case_of(shape, affine_of(shape, (1.5, 1.2, 3.0), "PIR", tilt_deg=6))
    write_scan(Scan("a", scan.voxels.astype(kind), scan.affine), tmp_path / "a/scan.nii.gz")
    write_mask(mask, tmp_path / "a/mask.nii.gz")
    params = PreprocessParams(spacing_mm=spacing, intensity=rule)
    (tmp_path / "out").mkdir()
    tracemalloc.start()
    run_one(tmp_path / "a", tmp_path / "out", params)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    needed = bytes_needed(tmp_path / "a", params)
    assert needed / 3 < peak + scan.voxels.size * kind().itemsize < needed


def test_masks_are_brought_to_the_grid_as_images_are():
    """The whole grid, computed without a box, is what each voxel is held against."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:9, 20:, 4:7] = 1
    labels[5:8, 22:, 5] = 2
    for code, tilt_deg in (("RAS", 0), ("LPS", 5), ("SRP", -9)):
        affine = affine_of(code=code, tilt_deg=float(tilt_deg))
        placement = Placement.of(SHAPE, affine, (2.0, 3.0, 2.5))
        whole = [placement.volume_of((labels >= n).astype(np.int16)) >= 0.5 for n in (1, 2)]
        expected = np.where(whole[0] & whole[1], 2, whole[0])
        np.testing.assert_array_equal(label_on_grid(Mask(labels, affine), placement), expected)


def test_an_empty_mask_stays_empty():
    empty = Mask(np.zeros(SHAPE, np.uint8), affine_of())
    grid = label_on_grid(empty, Placement.of(SHAPE, affine_of(), (2.0, 3.0, 2.5)))
    assert grid.shape == (14, 7, 21)
    assert not grid.any()
