import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import ORIENTATIONS, affine_of, blobs, case_of, turned
from dyntransnet.imaging.checks.twins import ALIKE, find_alike, thumbnail, voxels_sha256
from dyntransnet.imaging.geometry import orientation_of
from dyntransnet.imaging.scan import Scan

SHAPE = (60, 52, 37)
AFFINE = affine_of(SHAPE, (2.0, 2.3, 4.0), "LPS", tilt_deg=4)


def body(seed: int = 0) -> np.ndarray:
    """Soft tissue of its own in an ellipsoid, air and a table around it."""
    index = [
        (axis - (n - 1) / 2) / (0.42 * n) for axis, n in zip(np.indices(SHAPE), SHAPE, strict=True)
    ]
    inside = sum(each**2 for each in index) < 1
    voxels = np.where(inside, 60 + 80 * blobs(SHAPE, seed=seed, sigma=4), -1000)
    voxels[:, -3, :] = -700
    return np.rint(voxels).astype(np.int16)


def picture(voxels: np.ndarray, affine: np.ndarray = AFFINE) -> np.ndarray:
    kept = voxels if voxels.dtype == np.int16 else voxels.astype(np.float32)
    return thumbnail(Scan("case", np.ascontiguousarray(kept), affine), "CT")


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@settings(deadline=None)
@given(code=st.sampled_from(ORIENTATIONS), kind=st.sampled_from([np.int16, np.float32]))
def test_the_hash_does_not_depend_on_how_voxels_are_stored(code, kind):
    scan, _ = case_of(affine=affine_of(code="RAS"))
    order, flipped = orientation_of(affine_of(code=code))
    stored, affine = turned(scan.voxels, scan.affine, tuple(np.argsort(order)), (False,) * 3)
    again, affine = turned(stored, affine, (0, 1, 2), flipped)
    other = Scan("other", np.ascontiguousarray(again.astype(kind)), affine)
    assert orientation_of(affine) == (order, flipped)
    assert voxels_sha256(other) == voxels_sha256(scan)


@pytest.mark.parametrize("change", [0.25, 1.0, 1e30])
def test_one_other_voxel_is_another_hash(change):
    scan, _ = case_of()
    voxels = scan.voxels.astype(np.float32)
    voxels[3, 1, 2] += change
    assert voxels_sha256(Scan("case", voxels, scan.affine)) != voxels_sha256(scan)


def test_the_same_numbers_in_another_shape_are_another_hash():
    scan, _ = case_of()
    x, y, z = scan.voxels.shape
    assert voxels_sha256(Scan("a", scan.voxels.reshape(x, z, y), scan.affine)) != voxels_sha256(
        scan
    )


def test_copies_look_alike_and_other_bodies_do_not():
    whole = body()
    noise = np.random.default_rng(0).normal(0, 20, SHAPE)
    half = np.diag([2.0, 2.0, 1.0, 1.0])
    stored, affine = turned(whole, AFFINE, (2, 0, 1), (True, False, True))
    copies = {
        "noise": picture(whole + noise),
        "window": picture(np.clip(whole, -160, 240)),
        "half": picture(whole[::2, ::2], AFFINE @ half),
        "margin": picture(whole[4:, 3:-5]),
        "turned": picture(stored, affine),
    }
    first = picture(whole)
    for name, copy in copies.items():
        assert likeness(first, copy) >= ALIKE, name
    for seed in (1, 2, 3):
        assert likeness(first, picture(body(seed))) < ALIKE - 0.05


def test_a_copy_in_other_units_of_brightness_is_alike_in_mr():
    whole = body().astype(np.float32)
    one = thumbnail(Scan("a", whole, AFFINE), "MR")
    other = thumbnail(Scan("b", (whole + 1000) / 700, AFFINE), "MR")
    assert likeness(one, other) > 0.999


def test_pairs_are_found_with_their_correlation_the_closest_first():
    rng = np.random.default_rng(0)
    first = rng.standard_normal((24, 24, 24)).astype(np.float32)
    noise = rng.standard_normal((24, 24, 24)).astype(np.float32)
    pictures = {
        "a": first,
        "b": noise,
        "c": 3 * first + 0.6 * noise + 7,
        "d": 5 - first,
        "e": first * 2 + 1,
    }
    found = find_alike(pictures)
    assert [(pair.one, pair.other) for pair in found] == [("a", "e"), ("a", "c"), ("c", "e")]
    assert found[0].correlation == 1
    assert found[1].correlation == pytest.approx(likeness(first, pictures["c"]), abs=1e-4)


def test_pictures_of_nothing_are_like_none():
    nothing = np.zeros((24, 24, 24), np.float32)
    assert find_alike({"a": nothing, "b": nothing}) == []
    assert find_alike({}) == []


def test_scans_without_air_or_with_one_value_have_a_picture():
    scan = Scan("case", np.full(SHAPE, 50, np.int16), AFFINE)
    assert thumbnail(scan, "CT").shape == (24, 24, 24)
    assert np.isfinite(thumbnail(scan, "MR")).all()
