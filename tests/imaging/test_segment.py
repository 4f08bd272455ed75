import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from builders import (
    CENTER,
    ORIENTATIONS,
    Triple,
    affine_of,
    blobs,
    contract_of,
    distance_to,
    off_center,
    turned,
)
from dyntransnet.errors import ScanError
from dyntransnet.imaging import needs, tiling
from dyntransnet.imaging.geometry import Placement, resample
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import (
    mask_on_scan,
    one_liver,
    probability_map,
    segment,
    sigmoid,
)
from dyntransnet.scoring.metrics import dice

SHAPE, SPACING = (44, 52, 30), (2.0, 1.7, 3.5)
CONTRACT = contract_of()


def bright(windows: np.ndarray) -> np.ndarray:
    """Liver above 0 HU, tumor above 50 HU."""
    return np.concatenate([20 * windows, 20 * (windows - 0.5)], axis=1)


def shell_tumor(windows: np.ndarray) -> np.ndarray:
    """Liver above 50 HU, tumor from 0 HU to there."""
    return np.concatenate([20 * (windows - 0.5), 20 * (0.25 - np.abs(windows - 0.25))], axis=1)


def ball_scan(affine: np.ndarray, *, radius_mm: float = 30, at: Triple = (0, 0, 0)) -> Scan:
    """0 HU on a sphere, 10 HU more for each millimeter inwards."""
    depth = radius_mm - distance_to(SHAPE, affine, off_center(*at))
    return Scan("ball", np.clip(10 * depth, -200, 200).astype(np.float32), affine)


def blob_scan(affine: np.ndarray, *, seed: int) -> Scan:
    values = 80 * blobs(SHAPE, seed=seed, sigma=4)
    return Scan("blobs", np.rint(values).astype(np.int16), affine)


@pytest.mark.parametrize("tilt_deg", [0, 14])
@pytest.mark.parametrize("code", ["RAS", "LPS", "SLA", "PIR"])
def test_a_ball_is_found_where_it_lies(code, tilt_deg):
    affine = affine_of(SHAPE, SPACING, code, tilt_deg=tilt_deg)
    mask = segment(ball_scan(affine, at=(4, -3, 2)), bright, CONTRACT)
    distance = distance_to(SHAPE, affine, off_center(4, -3, 2))
    assert dice(distance < 30, mask.labels >= 1) > 0.98
    assert dice(distance < 25, mask.labels == 2) > 0.97
    np.testing.assert_array_equal(mask.affine, affine)


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_how_a_scan_is_stored_does_not_change_its_mask(code):
    scan = blob_scan(affine_of(SHAPE, SPACING, "LPS"), seed=1)
    expected = segment(scan, bright, CONTRACT)
    order, flips = way_to(code, scan.affine)
    voxels, affine = turned(scan.voxels, scan.affine, order, flips)
    mask = segment(Scan("turned", voxels, affine), bright, CONTRACT)
    np.testing.assert_array_equal(mask.labels, turned(expected.labels, affine, order, flips)[0])
    assert (mask.labels > 0).sum() > 1000


def way_to(code: str, affine: np.ndarray) -> tuple[tuple, tuple]:
    """The order and flips that make a grid's axes run towards the named sides."""
    axes = np.linalg.inv(affine[:3, :3]) @ affine_of(code=code, spacing=(1, 1, 1))[:3, :3]
    order = np.abs(axes).argmax(axis=0)
    return tuple(order.tolist()), tuple((axes[order, range(3)] < 0).tolist())


@pytest.mark.parametrize("code", ["RAS", "PIR"])
def test_a_lesion_that_the_liver_leaves_out_is_part_of_it(code):
    """Liver where it is bright, tumor where it is less so: a shell around a ball."""
    affine = affine_of(SHAPE, SPACING, code)
    mask = segment(ball_scan(affine), shell_tumor, CONTRACT)
    distance = distance_to(SHAPE, affine, CENTER)
    assert dice(distance < 25, mask.labels == 1) > 0.97
    assert dice((distance >= 25) & (distance < 30), mask.labels == 2) > 0.93


def test_a_lesion_away_from_the_liver_is_left_out():
    affine = affine_of(SHAPE, SPACING)
    liver, lesion = ball_scan(affine, radius_mm=20, at=(-18, 0, 0)), (24, 0, 0)
    away = np.where(distance_to(SHAPE, affine, off_center(*lesion)) < 8, 30, liver.voxels)
    expected = segment(liver, shell_tumor, CONTRACT).labels
    found = segment(Scan("two", away.astype(np.float32), affine), shell_tumor, CONTRACT).labels
    np.testing.assert_array_equal(found, expected)
    assert (expected == 2).any()


def test_of_two_livers_the_larger_is_kept():
    affine = affine_of(SHAPE, SPACING)
    large, small = (ball_scan(affine, radius_mm=r, at=(x, 0, 0)) for r, x in ((20, -18), (14, 24)))
    both = Scan("two", np.maximum(large.voxels, small.voxels), affine)
    expected = segment(large, bright, CONTRACT).labels
    np.testing.assert_array_equal(segment(both, bright, CONTRACT).labels, expected)


@pytest.mark.parametrize("seed", range(6))
def test_one_liver_leaves_one_piece_and_touches_nothing_else(seed):
    probabilities = np.stack([sigmoid(3 * blobs((20, 15, 24), seed=seed, sigma=1.5))] * 2)
    kept = one_liver(probabilities.copy(), 0.5)
    silenced = kept[0] != probabilities[0]
    assert ndimage.label(kept[0] >= 0.5)[1] == 1
    assert ndimage.label(probabilities[0] >= 0.5)[1] > 1
    assert (kept[0][silenced] == 0).all()
    np.testing.assert_array_equal(kept[1], probabilities[1])


@pytest.mark.parametrize("seed", range(6))
def test_the_box_holds_every_voxel_of_the_mask(seed):
    affine = affine_of(SHAPE, SPACING, ORIENTATIONS[7 * seed], tilt_deg=5 * seed)
    scan = blob_scan(affine, seed=seed)
    placement = Placement.of(SHAPE, affine, CONTRACT.spacing_mm)
    volume = placement.volume_of(scan.voxels)
    kept = one_liver(np.stack([sigmoid(volume / 30), sigmoid(volume / 30 - 1)]), 0.5)
    liver, tumor = (resample(placement.on_scan_axes(p), placement.to_scan) >= 0.5 for p in kept)
    mask = mask_on_scan(kept, placement, scan, 0.5)
    assert dice(liver, mask.labels >= 1) > 0.99999
    assert dice(liver & tumor, mask.labels == 2) > 0.99999


def test_no_liver_gives_an_empty_mask():
    scan = Scan("dark", np.full(SHAPE, -900, np.int16), affine_of(SHAPE, SPACING))
    mask = segment(scan, shell_tumor, CONTRACT)
    assert mask.labels.shape == SHAPE
    assert not mask.labels.any()


def test_liver_everywhere_fills_the_mask():
    scan = Scan("bright", np.full(SHAPE, 900, np.int16), affine_of(SHAPE, SPACING, "PIR"))
    assert (segment(scan, bright, CONTRACT).labels == 2).all()


def test_scans_smaller_than_a_window_are_labeled():
    scan = Scan("small", np.full((3, 5, 2), 20, np.int16), affine_of((3, 5, 2), SPACING))
    assert (segment(scan, bright, CONTRACT).labels == 1).all()


@pytest.mark.parametrize(("threshold", "radius_mm"), [(0.5, 30), (0.9, 24.5), (0.1, 35.5)])
def test_a_threshold_moves_the_border_to_its_logit(threshold, radius_mm):
    affine = affine_of(SHAPE, SPACING)  # 4 w is 2.2, the logit of 0.9, at 55 HU: 5.5 mm inwards
    mask = segment(
        ball_scan(affine),
        lambda w: np.concatenate([4 * w, w - 9], axis=1),
        contract_of(threshold=threshold),
    )
    assert dice(distance_to(SHAPE, affine, CENTER) < radius_mm, mask.labels == 1) > 0.97


def test_flat_grids_are_refused():
    scan = Scan("flat", np.zeros(SHAPE, np.int16), np.diag([1.0, 0.0, 1.0, 1.0]))
    with pytest.raises(ScanError, match="flat: affine must be invertible"):
        segment(scan, bright, CONTRACT)


@pytest.mark.parametrize(("logit", "probability"), [(0, 0.5), (1e4, 1), (-1e4, 0), (2.1972, 0.9)])
def test_logits_become_probabilities_without_overflow(logit, probability):
    assert sigmoid(np.array([logit], np.float32)) == pytest.approx(probability, abs=1e-5)


BOX = (slice(5, 41), slice(0, 47), slice(3, 29))


@pytest.mark.parametrize("code", ["RAS", "LIP", "SLA"])
def test_the_threshold_turns_the_probabilities_of_a_box_into_the_served_mask(code):
    scan = blob_scan(affine_of(SHAPE, SPACING, code, tilt_deg=9), seed=4)
    served = segment(scan, bright, CONTRACT).labels[BOX]
    slices = []
    for rows, (liver, tumor) in probability_map(scan, bright, CONTRACT).within(BOX):
        inside = (liver >= 0.5).astype(np.uint8) + ((liver >= 0.5) & (tumor >= 0.5))
        np.testing.assert_array_equal(inside, served[:, :, rows])
        slices += range(rows.start, rows.stop)
    assert slices == list(range(26))
    assert {0, 1, 2} == {*np.unique(served)}


def test_the_probabilities_of_a_box_are_those_of_the_whole_scan():
    scan = blob_scan(affine_of(SHAPE, SPACING, "PSL"), seed=5)
    found = probability_map(scan, lambda w: np.concatenate([3 * w, 2 * w], axis=1), CONTRACT)
    box = np.concatenate([values for _, values in found.within(BOX)], axis=3)
    for channel, values in zip(found.values, box, strict=True):
        whole = resample(found.placement.on_scan_axes(channel), found.placement.to_scan)
        np.testing.assert_allclose(values, whole[BOX], atol=1e-6)
    assert box.std() > 0.05


def test_what_a_network_is_sure_of_stays_a_probability():
    scan = Scan("bright", np.full(SHAPE, 900, np.int16), affine_of(SHAPE, SPACING))
    found = probability_map(scan, lambda w: np.concatenate([99 * w, 99 * w], axis=1), CONTRACT)
    for _, values in found.within(BOX):
        assert values.min() > 0.9999
        assert values.max() <= 1


def haunted(windows: np.ndarray) -> np.ndarray:
    """Sees a liver in windows of nothing but air, and what each window as a whole is like."""
    empty = (windows == -1).all(axis=(2, 3, 4), keepdims=True)
    liver = 9 * (windows - windows.mean(axis=(2, 3, 4), keepdims=True) / 9) + 30 * empty
    return np.concatenate([liver, liver - 5], axis=1).astype(np.float32)


@pytest.mark.parametrize("code", ["RAS", "PIR"])
def test_windows_of_air_that_are_not_asked_change_no_voxel(code, monkeypatch):
    affine = affine_of((90, 80, 60), SPACING, code)
    depth = 25 - distance_to((90, 80, 60), affine, off_center(30, -9, 12))
    scan = Scan("air", np.clip(10 * depth, -900, 200).astype(np.int16), affine)
    found = segment(scan, haunted, CONTRACT).labels
    monkeypatch.setattr(tiling, "_is_all", lambda window, value: False)
    np.testing.assert_array_equal(found, segment(scan, haunted, CONTRACT).labels)
    assert set(np.unique(found)) == {0, 1, 2}


@pytest.mark.parametrize("code", ORIENTATIONS[::5])
def test_slices_of_the_networks_grid_are_those_of_the_whole(code):
    affine = affine_of(SHAPE, SPACING, code, tilt_deg=5)
    voxels, placement = (
        blob_scan(affine, seed=8).voxels,
        Placement.of(SHAPE, affine, (2.5, 4.0, 3.0)),
    )
    whole = placement.volume_of(voxels)
    assert whole.shape == placement.shape
    for rows in (slice(0, 3), slice(3, 17), slice(17, whole.shape[2])):
        part = placement.slices_of(voxels, rows)
        np.testing.assert_allclose(part, whole[:, :, rows], atol=1e-3)


SMALL = contract_of(patch_size=(8, 8, 8), spacing_mm=(4.0, 4.0, 4.0))


@pytest.mark.parametrize(
    ("shape", "spacing", "radius_mm"),
    [
        ((190, 180, 170), (0.3, 0.3, 0.3), 22),
        ((44, 52, 6), (2.0, 1.7, 10.0), 25),
        ((9, 8, 12), (10.0, 10.0, 10.0), 35),
        ((9, 11, 2000), (6.0, 5.0, 0.5), 20),
        ((30, 28, 2), (2.0, 2.0, 9.0), 14),
        ((2, 2, 2), (20.0, 20.0, 20.0), 30),
    ],
)
def test_scans_of_every_kind_get_a_correct_mask(shape, spacing, radius_mm):
    affine = affine_of(shape, spacing, "LPS")
    depth = radius_mm - distance_to(shape, affine, CENTER)
    scan = Scan("odd", np.clip(20 * depth, -200, 200).astype(np.int16), affine)
    mask = segment(scan, bright, SMALL)
    assert mask.labels.shape == shape
    assert dice(depth > 0, mask.labels >= 1) > 0.9


def test_air_alone_is_asked_once_and_holds_nothing():
    asked = []

    def spy(windows: np.ndarray) -> np.ndarray:
        asked.append(len(windows))
        return bright(windows)

    scan = Scan("air", np.full((60, 70, 50), -1024, np.int16), affine_of((60, 70, 50), SPACING))
    assert not segment(scan, spy, CONTRACT).labels.any()
    assert asked == [1]


def test_one_slice_is_no_scan():
    scan = Scan("flat", np.zeros((30, 40, 1), np.int16), affine_of((30, 40, 1), SPACING))
    with pytest.raises(ScanError, match="flat: each edge must have at least 2 voxels, got"):
        segment(scan, bright, CONTRACT)


def test_what_does_not_fit_in_memory_is_refused_before_any_is_taken(monkeypatch):
    scan = Scan("fine", np.zeros((20, 20, 20), np.int16), affine_of((20, 20, 20), (9, 9, 9)))
    fine = contract_of(spacing_mm=(0.01, 0.02, 0.01))
    match = (
        r"fine: must fit in memory, got \d+ MiB free and \d+ MiB to take for 18000 x 9000 x 18000"
    )
    with pytest.raises(ScanError, match=match):
        segment(scan, bright, fine)
    monkeypatch.setattr(needs, "free_bytes", lambda: 10_000)
    with pytest.raises(ScanError, match="must fit in memory, got 0 MiB free and 2 MiB"):
        segment(scan, bright, CONTRACT)


def test_memory_that_runs_out_on_the_way_is_told_in_one_line():
    def greedy(windows: np.ndarray) -> np.ndarray:
        raise MemoryError

    with pytest.raises(ScanError, match=r"^blobs: must fit in memory, got none left$"):
        segment(blob_scan(affine_of(SHAPE, SPACING), seed=1), greedy, CONTRACT)


def taken_beside(slices: int) -> int:
    """Most bytes at a time, beside the scan, its mask and the network's answer to all of it."""
    shape = (40, 44, slices)
    scan = Scan("long", np.full(shape, -200, np.int16, order="F"), affine_of(shape, (3.0,) * 3))
    scan.voxels[10:20, 10:30, 30:40] = 99
    tracemalloc.start()
    segment(scan, bright, CONTRACT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - scan.voxels.size * (2 * 4 + 1)


def test_beside_what_is_kept_memory_does_not_grow_with_the_scan():
    grid_byte = 40 * 44  # where the liver may be is a byte for each voxel of the grid
    short, long = taken_beside(100), taken_beside(400)
    assert long - short < 2 * 300 * grid_byte
    assert short > 5e5


@pytest.mark.parametrize("code", ["RAS", "SLA"])
def test_the_mask_is_that_of_the_probabilities(code):
    scan = blob_scan(affine_of(SHAPE, SPACING, code, tilt_deg=7), seed=6)
    found = probability_map(scan, bright, CONTRACT)
    mask = mask_on_scan(found.values, found.placement, scan, 0.5)
    np.testing.assert_array_equal(mask.labels, segment(scan, bright, CONTRACT).labels)
