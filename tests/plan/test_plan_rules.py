from itertools import pairwise
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyntransnet.contract import IntensityWindow, IntensityZScore, NetworkSpec
from dyntransnet.errors import ParamsError
from dyntransnet.imaging.fingerprint import Fingerprint, Intensities, Spread
from dyntransnet.learning.cost import cost_of
from dyntransnet.learning.memory import BYTES_PER_PARAMETER
from dyntransnet.networks.registry import multiple_of
from dyntransnet.plan.rules import (
    MIN_BATCH,
    SEEN,
    USABLE,
    intensity_of,
    median_grid,
    patches,
    propose,
    training_bytes,
)

WEIGHTS, PER_VOXEL = 3e8, 2000.0


def spread(median: float, p10: float | None = None) -> Spread:
    low = median if p10 is None else p10
    return Spread(low=low, p10=low, median=median, p90=median, high=median)


def dataset(
    spacing=(0.8, 0.8, 1.5),
    shape=(512.0, 512.0, 250.0),
    *,
    p10=(None,) * 3,
    cases=100,
    modality="CT",
) -> Fingerprint:
    x, y, z = (spread(float(edge), least) for edge, least in zip(spacing, p10, strict=True))
    i, j, k = (spread(float(voxels)) for voxels in shape)
    return Fingerprint(
        modality=modality,
        cases=cases,
        cases_trusted=cases,
        cases_with_tumor=cases,
        spacing_mm=(x, y, z),
        shape=(i, j, k),
        foreground=Intensities(p00_5=-17.3, median=99.0, p99_5=201.1, mean=98.0, sd=40.0),
        liver_ml=spread(1500.0),
        tumors=spread(3.0),
        tumor_mm=spread(12.0),
    )


def needed(patch, batch) -> float:
    return WEIGHTS + PER_VOXEL * batch * prod(patch)


def plan(found: Fingerprint, memory: float, multiples=(16, 16, 16)):
    return propose(found, multiples, memory_bytes=memory, needed=needed)


DATASETS = st.builds(
    dataset,
    spacing=st.tuples(st.floats(0.5, 2), st.floats(0.5, 2), st.floats(0.7, 6)),
    shape=st.tuples(st.integers(60, 600), st.integers(60, 600), st.integers(20, 500)),
    cases=st.integers(1, 200),
)
MULTIPLES = st.tuples(*[st.sampled_from([1, 8, 16, 32])] * 3)
LEAST = 2.5e9
"""Bytes that hold the least batch of the largest multiples."""
MEMORY = st.floats(LEAST, 1e11)


@settings(deadline=None)
@given(found=DATASETS, multiples=MULTIPLES, memory=MEMORY)
def test_every_plan_fits_its_memory_and_its_network(found, multiples, memory):
    chosen = plan(found, memory, multiples)
    assert needed(chosen.patch_size, chosen.batch_size) <= USABLE * memory
    assert chosen.bytes_needed == needed(chosen.patch_size, chosen.batch_size)
    assert chosen.batch_size >= MIN_BATCH
    assert all(e % m == 0 for e, m in zip(chosen.patch_size, multiples, strict=True))
    assert chosen.grid.seen(chosen.patch_size) >= SEEN


@settings(deadline=None)
@given(found=DATASETS, multiples=MULTIPLES, memory=MEMORY, more=st.floats(1, 50))
def test_more_memory_never_gives_a_coarser_grid_or_fewer_voxels_of_one(
    found, multiples, memory, more
):
    one, other = plan(found, memory, multiples), plan(found, memory * more, multiples)
    assert all(np.array(other.grid.spacing_mm) <= np.array(one.grid.spacing_mm))
    if other.grid == one.grid:
        assert all(np.array(other.patch_size) >= np.array(one.patch_size))
        if other.patch_size == one.patch_size:
            assert other.batch_size >= one.batch_size


@settings(deadline=None)
@given(found=DATASETS, multiples=MULTIPLES)
def test_patches_grow_one_step_at_a_time_until_they_cover_the_scan(found, multiples):
    grid = median_grid(found)
    sizes = patches(grid, multiples)
    assert sizes[0] == tuple(2 * multiple for multiple in multiples)
    for one, other in pairwise(sizes):
        steps = (np.array(other) - one) / multiples
        assert sorted(steps) == [0, 0, 1]
    assert all(np.array(sizes[-1]) >= grid.shape)
    full = [max(2 * m, ceil(n / m) * m) for n, m in zip(grid.shape, multiples, strict=True)]
    assert list(sizes[-1]) == full


def test_a_larger_patch_would_not_fit():
    chosen = plan(dataset(), 24e9)
    sizes = patches(chosen.grid, (16, 16, 16))
    larger = sizes[sizes.index(chosen.patch_size) + 1]
    assert needed(larger, MIN_BATCH) > USABLE * 24e9


def test_a_patch_is_a_cube_in_millimeters_as_far_as_multiples_allow():
    chosen = plan(dataset(), 24e9)
    span = np.array(chosen.patch_size) * chosen.grid.spacing_mm
    assert span.max() - span.min() <= 2 * 16 * max(chosen.grid.spacing_mm)


def test_the_grid_is_the_median_where_memory_allows():
    assert plan(dataset(), 1e13).grid.spacing_mm == (0.8, 0.8, 1.5)
    chosen = plan(dataset(), 16e9)
    assert min(chosen.grid.spacing_mm) > 0.8
    assert "sees 25% of a scan" in chosen.grid.reason


def test_flat_voxels_grow_along_their_short_edges_first():
    grid = median_grid(dataset((0.7, 0.8, 3.0), (500, 480, 90)))
    assert grid.coarser().spacing_mm == (0.77, 0.88, 3.0)
    assert grid.coarser().shape == (round(500 / 1.1), round(480 / 1.1), 90)
    assert median_grid(dataset((1.2, 1.3, 2.0))).coarser().spacing_mm == (1.32, 1.43, 2.2)


@pytest.mark.parametrize(
    ("spacing", "shape", "p10", "expected"),
    [
        ((0.8, 0.8, 5.0), (512, 512, 90), (None, None, 2.5), 2.5),
        ((0.8, 0.8, 5.0), (512, 512, 90), (None, None, 0.5), 0.8),
        ((0.8, 0.8, 2.3), (512, 512, 90), (None, None, 1.0), 2.3),
        ((0.8, 0.8, 5.0), (512, 512, 200), (None, None, 1.0), 5.0),
    ],
    ids=["thick", "never finer than the others", "not thick enough", "as many slices"],
)
def test_across_thick_slices_the_grid_is_finer_than_most(spacing, shape, p10, expected):
    grid = median_grid(dataset(spacing, shape, p10=p10))
    assert grid.spacing_mm == (0.8, 0.8, expected)
    assert grid.shape[2] == round(shape[2] * spacing[2] / expected)


def test_the_batch_grows_once_the_patch_covers_the_scan_and_not_beyond_the_dataset():
    small = {"spacing": (2.0, 2.0, 2.0), "shape": (40, 44, 48)}
    many, few = (plan(dataset(**small, cases=cases), 8e9) for cases in (1000, 100))
    assert many.patch_size == few.patch_size == (48, 48, 48)
    assert needed(many.patch_size, many.batch_size + 1) > USABLE * 8e9
    assert few.batch_size == ceil(0.05 * 100 * 40 * 44 * 48 / 48**3)
    assert many.batch_size > few.batch_size > MIN_BATCH


def test_values_are_cut_off_where_livers_end():
    assert intensity_of(dataset()) == IntensityWindow(low_hu=-20, high_hu=205)


def test_livers_of_one_value_still_have_a_window():
    flat = Intensities(p00_5=100.0, median=100.0, p99_5=100.0, mean=100.0, sd=0.0)
    found = intensity_of(dataset().model_copy(update={"foreground": flat}))
    assert found == IntensityWindow(low_hu=100, high_hu=105)


def test_mri_gets_no_window_for_its_values_have_no_unit():
    chosen = plan(dataset(modality="MR"), 24e9)
    assert chosen.intensity == IntensityZScore(percentiles=(0.5, 99.5), deviations=3)
    reasons = {key: reason for key, _, reason in chosen.explained()}
    assert "MRI has no units" in reasons["preprocess.intensity"]


def test_too_little_memory_is_told_with_the_least_that_would_do():
    least = (WEIGHTS + PER_VOXEL * MIN_BATCH * 32**3) / USABLE
    rule = r"must hold 2 windows of \(32, 32, 32\) \(multiples of 16\), 0\.7 GiB, got 0\.5 GiB$"
    with pytest.raises(ParamsError, match=rule):
        plan(dataset(), 0.5 * 2**30)
    assert plan(dataset(), least * 1.0001).patch_size == (32, 32, 32)


def test_without_a_spacing_there_is_no_plan():
    with pytest.raises(
        ParamsError, match=r"plan: some case must have a spacing .* got 3 that have"
    ):
        plan(dataset(cases=3).model_copy(update={"spacing_mm": None, "cases_trusted": 0}), 1e10)


def test_every_value_has_its_reason():
    rows = plan(dataset(), 24e9).explained()
    assert [key for key, _, _ in rows] == [
        "preprocess.spacing_mm", "preprocess.intensity", "train.patch_size", "train.batch_size",
    ]  # fmt: skip
    assert all(reason and "\n" not in reason for _, _, reason in rows)


def test_the_estimate_is_that_of_the_check_before_training():
    spec = NetworkSpec(name="segresnet", options={"init_filters": 8})
    estimate = training_bytes(spec, "bf16")
    for patch, batch in (((32, 24, 16), 1), ((32, 24, 16), 4), ((48, 32, 32), 2)):
        cost = cost_of(spec, patch, batch=batch, precision="bf16")
        exact = BYTES_PER_PARAMETER * cost.parameters + cost.activation_bytes
        assert estimate(patch, batch) == exact


def test_a_real_network_gets_a_plan_that_its_own_count_confirms():
    spec = NetworkSpec(name="segresnet", options={"init_filters": 8})
    found = dataset((2.0, 2.0, 3.0), (170, 150, 70))
    chosen = propose(
        found, multiple_of(spec), memory_bytes=2e9, needed=training_bytes(spec, "fp32")
    )
    cost = cost_of(spec, chosen.patch_size, batch=chosen.batch_size)
    assert BYTES_PER_PARAMETER * cost.parameters + cost.activation_bytes <= USABLE * 2e9
    assert chosen.patch_size > (16, 16, 16)
