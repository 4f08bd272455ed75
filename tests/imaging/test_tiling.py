from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from builders import blobs
from dyntransnet.imaging.tiling import Tiling, predict_slices, predict_tiled
from dyntransnet.imaging.windows import MIN_WEIGHT, gaussian_weight, pad_to, window_starts

PATCH = (8, 6, 10)
SHAPES = st.tuples(*[st.integers(1, 24)] * 3)
OVERLAPS = st.floats(0, 0.8)


def identity(windows: np.ndarray) -> np.ndarray:
    return windows


def corners_of(shape: tuple[int, ...], overlap: float) -> list[tuple[int, ...]]:
    return list(product(*window_starts(shape, PATCH, overlap)))


def tiled(volume: np.ndarray, predict=identity, **options) -> np.ndarray:
    settled = {"classes": 1, "patch_size": PATCH, "overlap": 0.5, "padding": -1.0}
    return predict_tiled(volume, predict, Tiling(**settled | options))


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
@settings(deadline=None)
def test_windows_cover_every_voxel_and_none_outside(shape, overlap):
    shape = tuple(np.maximum(shape, PATCH).tolist())
    covered = np.zeros(shape, int)
    for corner in corners_of(shape, overlap):
        box = tuple(slice(a, a + edge) for a, edge in zip(corner, PATCH, strict=True))
        assert covered[box].shape == PATCH
        covered[box] += 1
    assert covered.min() >= 1


def test_neighbors_share_what_the_overlap_says():
    corners = corners_of((20, 6, 10), 0.5)
    assert [corner[0] for corner in corners] == [0, 4, 8, 12]


def test_the_last_window_ends_at_the_edge():
    assert corners_of((19, 6, 10), 0.0) == [(0, 0, 0), (8, 0, 0), (11, 0, 0)]


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
    windows = len(corners_of((17, 13, 22), 0.5))
    assert max(sizes) == 5
    assert sum(sizes) == windows


def test_the_network_sees_padding_around_a_small_volume():
    seen = []

    def spy(windows: np.ndarray) -> np.ndarray:
        seen.append(windows.copy())
        return windows

    assert tiled(np.full((4, 6, 5), 2, np.float32), spy).shape == (1, 4, 6, 5)
    assert seen[0].shape == (1, 1, *PATCH)
    assert seen[0].sum() == 2 * 120 - (480 - 120)


@given(shape=SHAPES)
@settings(deadline=None)
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


def prejudiced(windows: np.ndarray) -> np.ndarray:
    """Sees liver in air, and everywhere what the whole window is like."""
    return (windows < -0.5) + windows - windows.mean(axis=(2, 3, 4), keepdims=True)


@given(shape=SHAPES, overlap=OVERLAPS, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_air_that_is_asked_once_is_answered_as_if_every_window_were_asked(shape, overlap, seed):
    volume = np.maximum(blobs(shape, seed=seed, sigma=1) if min(shape) > 2 else np.zeros(shape), 0)
    volume = np.where(volume > 0.8, volume, -1).astype(np.float32)
    whole, _ = pad_to(volume, PATCH, -1.0)
    every = tiled(whole, prejudiced, overlap=overlap, padding=-9.0)
    _, inner = pad_to(volume, PATCH, -1.0)
    once = tiled(volume, prejudiced, overlap=overlap)
    np.testing.assert_array_equal(once, every[(slice(None), *inner)])


def test_the_network_sees_no_more_than_one_window_of_air():
    seen = []

    def spy(windows: np.ndarray) -> np.ndarray:
        seen.extend(windows.copy())
        return windows

    volume = np.full((40, 30, 60), -1, np.float32)
    volume[0, 0, 0] = 0.2
    tiled(volume, spy)
    assert sum((window == -1).all() for window in seen) == 1
    assert sum((window != -1).any() for window in seen) == 1
    assert len(corners_of(volume.shape, 0.5)) > 100


def test_only_the_last_batch_may_be_short():
    sizes = []

    def spy(windows: np.ndarray) -> np.ndarray:
        sizes.append(len(windows))
        return windows

    tiled(np.zeros((17, 6, 47), np.float32), spy, batch_size=4)
    assert len(corners_of((17, 6, 47), 0.5)) == 4 * 9
    assert sizes == [4] * 9


@pytest.mark.parametrize("shape", [(5, 21, 43), (19, 3, 4), (9, 9, 10)])
def test_each_slice_is_asked_for_once_and_in_order(shape):
    asked = []

    def source(rows: slice) -> np.ndarray:
        asked.append(rows)
        return np.zeros((*shape[:2], rows.stop - rows.start), np.float32)

    predict_slices(source, shape, identity, Tiling(1, PATCH, 0.5, -1.0))
    assert [at for rows in asked for at in range(rows.start, rows.stop)] == list(range(shape[2]))
    assert max(rows.stop - rows.start for rows in asked) <= PATCH[2]


def test_what_is_decoded_is_each_voxel_once():
    volume = blobs((17, 13, 42), seed=3)
    decoded = predict_slices(
        lambda rows: volume[:, :, rows], volume.shape, identity, Tiling(1, PATCH, 0.3, -1.0),
        lambda logits: 2 * logits + 1,
    )  # fmt: skip
    np.testing.assert_allclose(decoded[0], 2 * volume + 1, atol=1e-5)


@pytest.mark.parametrize(("edge", "windows"), [(16, 4), (64, 4), (80, 2), (96, 1), (128, 1)])
def test_large_windows_are_asked_in_small_batches(edge, windows):
    assert Tiling(2, (edge, edge, edge), 0.5, -1.0).windows_in_a_call == windows
