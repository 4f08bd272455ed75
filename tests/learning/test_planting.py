import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyntransnet.config import LesionParams
from dyntransnet.learning import planting
from dyntransnet.learning.planting import lesion_shape, plant

SHAPE, SPACING = (30, 40, 20), (1.0, 2.0, 4.0)
STEPS_MM = (1.0, 1.5, 2.0)

seeds = st.integers(0, 2**32)


def params(**changes) -> LesionParams:
    values = {"share": 1.0, "most": 3, "radius_mm": (4, 9), "contrast": (-0.4, -0.1)}
    return LesionParams(**values | changes)


def half_liver() -> tuple[np.ndarray, np.ndarray]:
    """Noise, and a liver in one half of it."""
    image = np.random.default_rng(0).normal(0, 0.1, SHAPE).astype(np.float16)
    label = np.zeros(SHAPE, np.uint8)
    label[:, 15:] = 1
    return image, label


def shape_of(radii_mm, edge_mm: float, rng: np.random.Generator) -> np.ndarray:
    radii = np.array(radii_mm)
    reach = np.ceil((radii * (1 + planting.LUMPS) + edge_mm) / STEPS_MM).astype(int)
    return lesion_shape(radii, np.array(STEPS_MM), edge_mm, reach, rng)


def planted(seed: int, **changes) -> tuple[np.ndarray, np.ndarray]:
    image, label = half_liver()
    plant(image, label, params(**changes), SPACING, np.random.default_rng(seed))
    return image, label


@given(seed=seeds)
@settings(max_examples=30)
def test_lesions_lie_in_the_liver_and_are_darker_there_alone(seed):
    image, label = planted(seed)
    before, liver = half_liver()
    darker = before.astype(float) - image
    assert not darker[liver == 0].any()
    assert not label[liver == 0].any()
    assert (label[liver == 1] >= 1).all()
    assert (label == 2).any()
    assert darker[label == 2].min() > 0.019  # a fifth of the least contrast, at an edge
    assert darker[label == 2].max() < 0.4 * 3 + 0.01
    assert darker[label == 1].max() < 0.4 * 3 / 2 + 0.01


def test_the_contrast_may_be_bright_as_in_late_phases_of_mri():
    image, label = planted(0, contrast=(0.2, 0.2), most=1)
    inner = label == 2
    assert (image - half_liver()[0])[inner].max() == pytest.approx(0.2, abs=1e-3)


def test_the_share_of_windows_is_that_asked_for():
    changed = [(planted(seed, share=0.3)[1] == 2).any() for seed in range(400)]
    assert np.mean(changed) == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 400))


def test_nothing_is_planted_where_no_share_is_asked_for():
    image, label = planted(3, share=0.0)
    np.testing.assert_array_equal(image, half_liver()[0])
    np.testing.assert_array_equal(label, half_liver()[1])


def test_a_window_without_liver_stays_as_it_is():
    image, label = half_liver()
    label[:] = 0
    plant(image, label, params(), SPACING, np.random.default_rng(0))
    np.testing.assert_array_equal(image, half_liver()[0])
    assert not label.any()


def test_a_real_tumor_stays_a_tumor():
    image, label = half_liver()
    label[10:14, 20:24, 8:12] = 2
    plant(image, label, params(), SPACING, np.random.default_rng(0))
    assert (label[10:14, 20:24, 8:12] == 2).all()


def test_values_stay_inside_the_window():
    image, label = half_liver()
    image[:] = -0.9
    plant(image, label, params(), SPACING, np.random.default_rng(0))
    assert image.min() == -1


def test_the_same_chance_gives_the_same_lesions():
    for one, same, other in zip(planted(5), planted(5), planted(6), strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


@given(radii_mm=st.tuples(*[st.floats(6, 24)] * 3), edge_mm=st.floats(1, 3))
@settings(max_examples=20)
def test_without_lumps_a_lesion_has_the_volume_of_its_ellipsoid(radii_mm, edge_mm):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planting, "LUMPS", 0.0)
        filled = shape_of(radii_mm, edge_mm, np.random.default_rng(0))
    expected = 4 / 3 * math.pi * np.prod(radii_mm)
    # The edge is as wide along every axis as along one of mean radius: flat ones are a little off.
    assert filled.sum() * np.prod(STEPS_MM) == pytest.approx(expected, rel=0.12)


@given(seed=seeds, radii_mm=st.tuples(*[st.floats(4, 18)] * 3), edge_mm=st.floats(1, 6))
@settings(max_examples=30)
def test_a_lesion_is_whole_in_its_middle_and_ends_within_its_box(seed, radii_mm, edge_mm):
    filled = shape_of(radii_mm, edge_mm, np.random.default_rng(seed))
    assert filled[tuple(edge // 2 for edge in filled.shape)] > 0.5
    assert filled.min() == 0
    for axis in range(3):
        assert filled.take([0, -1], axis=axis).max() < 0.5


def test_the_edge_slopes_over_the_width_asked_for(monkeypatch):
    monkeypatch.setattr(planting, "LUMPS", 0.0)
    fine = np.array([0.1, 8.0, 8.0])
    radii_mm, reach = np.array([10.0, 10.0, 10.0]), np.array([160, 1, 1])
    line = lesion_shape(radii_mm, fine, 4.0, reach, np.random.default_rng(0))[:, 1, 1]
    at_mm = np.arange(-160, 161) * 0.1
    np.testing.assert_allclose(line, np.clip((12 - np.abs(at_mm)) / 4, 0, 1), atol=1e-5)


def test_a_lesion_is_as_large_in_millimeters_on_any_grid():
    found = []
    for spacing in ((1.0, 1.0, 1.0), (1.0, 1.0, 3.0)):
        volumes = []
        for seed in range(60):
            shape = [math.ceil(60 / step) for step in spacing]
            image, label = np.zeros(shape, np.float16), np.ones(shape, np.uint8)
            chance = np.random.default_rng(seed)
            plant(image, label, params(most=1, radius_mm=(9, 9)), spacing, chance)
            volumes.append((label == 2).sum() * math.prod(spacing))
        found.append(np.median(volumes))
    assert found[1] == pytest.approx(found[0], rel=0.2)
