import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from builders import blobs
from dyntransnet.imaging.tiling import (
    MIN_WEIGHT,
    gaussian_weight,
    pad_to,
    predict_tiled,
    window_corners,
)

PATCH = (8, 6, 10)
SHAPES = st.tuples(*[st.integers(1, 24)] * 3)
OVERLAPS = st.floats(0, 0.8)


def identity(windows: np.ndarray) -> np.ndarray:
    return windows


def tiled(volume: np.ndarray, predict=identity, **options) -> np.ndarray:
    settled = {"classes": 1, "patch_size": PATCH, "overlap": 0.5, "padding": -1.0}
    return predict_tiled(volume, predict, **settled | options)


@given(shape=SHAPES, overlap=OVERLAPS)
@settings(deadline=None, max_examples=40)
def test_identity_network_gives_the_volume_back(shape, overlap):
    volume = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(tiled(volume, overlap=overlap)[0], volume, atol=1e-5)


@given(shape=SHAPES, overlap=OVERLAPS)
@settings(deadline=None, max_examples=40)
def test_a_constant_answer_stays_constant(shape, overlap):
    answer = tiled(np.zeros(shape, np.float32), lambda w: np.full_like(w, 3), overlap=overlap)
    np.testing.assert_allclose(answer, 3, rtol=1e-5)


@given(shape=SHAPES, overlap=OVERLAPS)
def test_windows_cover_every_voxel_and_none_outside(shape, overlap):
    shape = tuple(np.maximum(shape, PATCH).tolist())
    covered = np.zeros(shape, int)
    for corner in window_corners(shape, PATCH, overlap):
        box = tuple(slice(a, a + edge) for a, edge in zip(corner, PATCH, strict=True))
        assert covered[box].shape == PATCH
        covered[box] += 1
    assert covered.min() >= 1


def test_neighbors_share_what_the_overlap_says():
    corners = list(window_corners((20, 6, 10), PATCH, 0.5))
    assert [corner[0] for corner in corners] == [0, 4, 8, 12]


def test_the_last_window_ends_at_the_edge():
    assert list(window_corners((19, 6, 10), PATCH, 0.0)) == [(0, 0, 0), (8, 0, 0), (11, 0, 0)]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_does_not_matter(batch_size):
    volume = blobs((17, 13, 22), seed=5)
    squared = tiled(volume, lambda w: w**2 - w.mean(axis=(2, 3, 4), keepdims=True))
    other = tiled(
        volume, lambda w: w**2 - w.mean(axis=(2, 3, 4), keepdims=True), batch_size=batch_size
    )
    np.testing.assert_allclose(other, squared, atol=1e-6)


def test_batches_are_never_larger_than_asked_for():
    sizes = []

    def spy(windows: np.ndarray) -> np.ndarray:
        sizes.append(len(windows))
        return windows

    tiled(np.zeros((17, 13, 22), np.float32), spy, batch_size=5)
    windows = len(list(window_corners((17, 13, 22), PATCH, 0.5)))
    assert max(sizes) == 5
    assert sum(sizes) == windows


def test_the_network_sees_padding_around_a_small_volume():
    seen = []

    def spy(windows: np.ndarray) -> np.ndarray:
        seen.append(windows)
        return windows

    assert tiled(np.full((4, 6, 5), 2, np.float32), spy).shape == (1, 4, 6, 5)
    assert seen[0].shape == (1, 1, *PATCH)
    assert seen[0].sum() == 2 * 120 - (480 - 120)


@given(shape=SHAPES)
def test_padding_keeps_the_volume_in_the_middle(shape):
    volume = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    padded, inner = pad_to(volume, PATCH, -1.0)
    np.testing.assert_array_equal(padded[inner], volume)
    assert padded.shape == tuple(map(max, zip(shape, PATCH, strict=True)))
    for place, whole in zip(inner, padded.shape, strict=True):
        assert abs(place.start - (whole - place.stop)) <= 1


def test_classes_keep_their_order():
    answer = tiled(
        np.ones((9, 9, 12), np.float32), lambda w: np.concatenate([w, 2 * w, 3 * w], 1), classes=3
    )
    np.testing.assert_allclose(answer.mean(axis=(1, 2, 3)), [1, 2, 3], rtol=1e-5)


def test_a_window_counts_most_at_its_center_and_everywhere():
    weight = gaussian_weight((9, 7, 5))
    assert weight[4, 3, 2] == weight.max() == 1
    assert weight.min() >= MIN_WEIGHT
    np.testing.assert_allclose(weight, weight[::-1, ::-1, ::-1])


def test_the_weight_at_one_sigma_is_that_of_a_gaussian():
    weight = gaussian_weight((33, 33, 33))  # sigma 4.125 voxels
    assert weight[20, 16, 16] == pytest.approx(np.exp(-0.5 * (4 / 4.125) ** 2), rel=1e-5)


@pytest.mark.parametrize("shape", [(21, 17, 26), (9, 5, 13), (6, 14, 30)])
def test_blending_agrees_with_monai(shape):
    patch_size = (
        9,
        5,
        13,
    )  # odd: MONAI raises the smallest weights before it scales the center to 1
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    volume = blobs(shape, seed=6)

    def predict(windows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(windows)).numpy()

    with torch.no_grad():
        theirs = sliding_window_inference(
            torch.from_numpy(volume)[None, None], patch_size, 3, network,
            overlap=0.5, mode="gaussian", sigma_scale=0.125, cval=-1.0,
        )  # fmt: skip
    ours = tiled(volume, predict, classes=2, patch_size=patch_size)
    np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-5)
