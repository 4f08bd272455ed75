import numpy as np
import pytest

from builders import SHAPE, affine_of, case_of
from dyntransnet.errors import ScanError
from dyntransnet.imaging.checks.grids import (
    check_not_snapped,
    check_pair,
    check_scan,
    check_spacing_known,
    distance_mm,
)
from dyntransnet.imaging.scan import Mask, Scan


def scan_with(affine: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> Scan:
    return Scan("case", np.zeros(shape, np.int16), affine)


def moved(affine: np.ndarray, by_mm: float) -> np.ndarray:
    other = affine.copy()
    other[1, 3] += by_mm
    return other


def test_oblique_scans_are_sound():
    check_scan(scan_with(affine_of(code="SAL", tilt_deg=30)))


def test_edges_of_one_voxel_are_refused():
    with pytest.raises(ScanError, match=r"case: each edge .* 2 voxels, got \(19, 24, 1\)"):
        check_scan(scan_with(np.eye(4), (19, 24, 1)))


@pytest.mark.parametrize(
    "axes",
    [
        np.diag([1.0, 0.0, 2.0]),
        np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]),
        np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]]),
        np.diag([1.0, np.nan, 2.0]),
        np.diag([1.0, np.inf, 2.0]),
    ],
    ids=["no edge", "flat", "flat but for rounding", "nan", "infinite"],
)
def test_affines_without_volume_are_refused(axes):
    affine = np.eye(4)
    affine[:3, :3] = axes
    with pytest.raises(ScanError, match=r"case: affine must be (invertible|finite), got \[\["):
        check_scan(scan_with(affine))


@pytest.mark.parametrize("edge_mm", [0.06, 40.0])
def test_small_and_large_voxels_have_volume(edge_mm):
    check_scan(scan_with(np.diag([edge_mm, edge_mm, edge_mm, 1.0])))


def test_a_mask_on_its_scan_is_a_pair():
    scan, mask = case_of(affine=affine_of(code="LPS", tilt_deg=7))
    check_pair(scan, Mask(mask.labels, moved(mask.affine, 0.005)))


def test_a_mask_of_another_shape_is_no_pair():
    labels = np.zeros((19, 24, 12), np.uint8)
    with pytest.raises(
        ScanError, match=r"case: mask grid must equal scan grid \(19, 24, 13\), got \(19, 24, 12\)"
    ):
        check_pair(scan_with(affine_of()), Mask(labels, affine_of()))


def test_a_mask_beside_its_scan_is_no_pair():
    scan, mask = case_of()
    with pytest.raises(ScanError, match=r"case: mask must lie on .* 0\.09 mm, got corners 0\.5 mm"):
        check_pair(scan, Mask(mask.labels, moved(mask.affine, 0.5)))


def test_other_spacing_is_shown():
    scan, mask = case_of()
    with pytest.raises(ScanError, match=r"spacing 1\.5 x 0\.9 x 4 and 1\.5 x 0\.9 x 3 mm"):
        check_pair(scan, Mask(mask.labels, affine_of(spacing=(1.5, 0.9, 3.0))))


def test_distance_is_the_largest_of_the_corners():
    other = affine_of()
    other[:3, 0] *= 1.1  # 18 steps of 0.15 mm along x
    assert distance_mm(affine_of(), other, SHAPE) == pytest.approx(18 * 0.15)


def test_a_flipped_grid_is_as_far_as_its_edge_is_long():
    flipped = affine_of(code="LAS")
    assert distance_mm(affine_of(), flipped, SHAPE) == pytest.approx(18 * 1.5)


@pytest.mark.parametrize("edge_mm", [900.0, 0.0009])
def test_spacing_in_a_wrong_unit_is_refused(edge_mm):
    rule = rf"case: spacing must be 0\.05 to 50 mm, got 1\.5 x {edge_mm:g} x 4$"
    with pytest.raises(ScanError, match=rule) as caught:
        check_scan(scan_with(affine_of(spacing=(1.5, edge_mm, 4.0))))
    assert caught.value.code == "spacing-unit"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scans_in_memory_must_be_finite_too(value):
    voxels = np.zeros(SHAPE, np.float32)
    voxels[1, 2, 3] = value
    with pytest.raises(ScanError, match="case: voxels must be finite, got 1 NaN or infinite"):
        check_scan(Scan("case", voxels, affine_of()))


def test_sheared_scans_are_refused_and_rounded_angles_are_not():
    sheared = affine_of(code="SAL", tilt_deg=30)
    sheared[:3, 1] += 0.3 * sheared[:3, 2]
    with pytest.raises(ScanError, match=r"case: axes must be at right angles, got a cosine") as one:
        check_scan(scan_with(sheared))
    assert one.value.code == "affine-sheared"
    check_scan(scan_with(affine_of(code="SAL", tilt_deg=30).round(3)))


def test_a_mask_a_hundredth_of_a_voxel_off_is_told_of_and_kept():
    scan, mask = case_of()
    beside = Mask(mask.labels, moved(mask.affine, 0.05))
    check_pair(scan, beside)
    check_not_snapped(scan, mask)
    with pytest.raises(ScanError, match=r"case: mask should .* 0\.01 mm, got corners 0\.05 mm"):
        check_not_snapped(scan, beside)


@pytest.mark.parametrize(("by_mm", "is_pair"), [(0.0899, True), (0.0901, False), (0.45, False)])
def test_a_tenth_of_the_shortest_edge_is_the_limit(by_mm, is_pair):
    scan, mask = case_of()  # 0.9 mm along y
    if is_pair:
        check_pair(scan, Mask(mask.labels, moved(mask.affine, by_mm)))
        return
    with pytest.raises(ScanError, match="mask must lie on the scan") as caught:
        check_pair(scan, Mask(mask.labels, moved(mask.affine, by_mm)))
    assert caught.value.code == "mask-off-grid"


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1)])
def test_a_scan_of_unit_voxels_from_nowhere_has_no_spacing(flips):
    with pytest.raises(ScanError, match="case: spacing should be given, got 1 x 1 x 1 mm"):
        check_spacing_known(scan_with(np.diag([*flips, 1.0])))


@pytest.mark.parametrize(
    "affine",
    [
        moved(np.eye(4), -120.0),
        np.diag([1.0, 1.0, 1.5, 1.0]),
        affine_of(spacing=(1.0, 1.0, 1.0)),
        affine_of(spacing=(1.0, 1.0, 1.0), tilt_deg=3),
    ],
    ids=["an origin", "thick slices", "a place", "a tilt"],
)
def test_unit_voxels_with_a_place_have_a_spacing(affine):
    check_spacing_known(scan_with(affine))
