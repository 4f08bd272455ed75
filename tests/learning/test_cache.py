import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from caches import balls, save_case
from dyntransnet.imaging.intensity import AIR
from dyntransnet.learning.cache import CachedCase, cut

VOLUME = (11, 13, 14)

edges = st.tuples(*[st.integers(1, 20)] * 3)
centers = st.tuples(*[st.integers(0, size - 1) for size in VOLUME])


def numbered() -> CachedCase:
    """Every voxel of the image has its own value, exact in float16; every label is 1."""
    image = np.arange(np.prod(VOLUME), dtype=np.float16).reshape(VOLUME)
    none = np.zeros((0, 3), np.int16)
    return CachedCase("numbered", image, np.ones(VOLUME, np.uint8), none, none)


@given(center=centers, edge=edges)
def test_a_window_has_the_size_asked_for_and_holds_its_center(center, edge):
    image, label = cut(numbered(), np.array(center), edge)
    assert image.shape == label.shape == edge
    assert numbered().image[center] in image


@given(center=centers, edge=st.tuples(*[st.integers(1, size) for size in VOLUME]))
def test_a_window_that_fits_lies_inside_the_volume(center, edge):
    image, label = cut(numbered(), np.array(center), edge)
    first = np.unravel_index(int(image[0, 0, 0]), VOLUME)
    window = tuple(slice(at, at + length) for at, length in zip(first, edge, strict=True))
    np.testing.assert_array_equal(image, numbered().image[window])
    assert label.all()


@given(center=centers, edge=st.tuples(*[st.integers(size, size + 9) for size in VOLUME]))
def test_air_without_label_surrounds_a_volume_that_is_smaller(center, edge):
    image, label = cut(numbered(), np.array(center), edge)
    before = [(length - size) // 2 for length, size in zip(edge, VOLUME, strict=True)]
    inner = tuple(slice(low, low + size) for low, size in zip(before, VOLUME, strict=True))
    np.testing.assert_array_equal(image[inner], numbered().image)
    assert (image == AIR).sum() == (label == 0).sum() == np.prod(edge) - np.prod(VOLUME)


@given(center=centers, edge=edges, margin=st.tuples(*[st.integers(0, 9)] * 3))
def test_a_wider_window_has_the_same_patch_in_its_middle(center, edge, margin):
    window = tuple(length + 2 * more for length, more in zip(edge, margin, strict=True))
    alone, wide = (cut(numbered(), np.array(center), edge, size) for size in (None, window))
    for patch, around in zip(alone, wide, strict=True):
        x, y, z = (slice(more, more + length) for more, length in zip(margin, edge, strict=True))
        np.testing.assert_array_equal(around[x, y, z], patch)
        assert around.shape == window


def test_what_lies_beyond_a_border_repeats_it_and_its_label():
    image, label = cut(numbered(), np.array([0, 7, 13]), (4, 6, 2), (8, 6, 7))
    full = numbered().image
    assert image.shape == label.shape == (8, 6, 7)
    for x, y, z in np.ndindex(8, 6, 7):
        assert image[x, y, z] == full[max(0, x - 2), 4 + y, min(13, 10 + z)]
    assert label.all()


def test_what_surrounds_an_mri_is_its_own_air(tmp_path):
    save_case(tmp_path / "im0", balls())
    np.save(tmp_path / "im0" / "air.npy", np.float16(-0.5))
    case = CachedCase.open(tmp_path / "im0")
    edge = tuple(size + 2 for size in case.image.shape)
    image, _ = cut(case, np.array([5, 5, 5]), edge)
    assert image[0].tolist() == np.full(edge[1:], -0.5).tolist()


def test_a_window_away_from_the_borders_has_its_center_in_the_middle():
    image, _ = cut(numbered(), np.array([5, 7, 6]), (4, 6, 2))
    assert image[2, 3, 1] == numbered().image[5, 7, 6]


def test_a_case_is_mapped_and_not_loaded(tmp_path):
    save_case(tmp_path / "volume-0", balls())
    case = CachedCase.open(tmp_path / "volume-0")
    for array in (case.image, case.label, case.liver, case.tumor):
        assert isinstance(array, np.memmap)
        assert array.mode == "r"
