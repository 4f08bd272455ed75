import numpy as np
import pytest

from builders import affine_of, blobs, contract_of
from dyntransnet.errors import InputError
from dyntransnet.imaging.presets import Preset, mirrored, tuned
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import segment

SHAPE = (44, 52, 30)


def leaning(windows: np.ndarray) -> np.ndarray:
    """Each voxel is judged by those before it along every axis."""
    sums = windows.cumsum(axis=2).cumsum(axis=3).cumsum(axis=4)
    return np.concatenate([sums, sums - 3], axis=1)


def asked(preset: Preset, **changes) -> int:
    """Windows that a network is asked for."""
    count = []

    def spy(windows: np.ndarray) -> np.ndarray:
        count.append(len(windows))
        return np.concatenate([windows, windows - 1], axis=1)

    values = np.rint(80 * blobs(SHAPE, seed=2)).astype(np.int16)
    segment(Scan("a", values, affine_of(SHAPE)), *tuned(preset, spy, contract_of(**changes)))
    return sum(count)


def test_standard_is_the_contract_itself():
    contract = contract_of(mirrored_axes=("x",))
    predict, used = tuned(Preset.STANDARD, leaning, contract)
    assert predict is leaning
    assert used is contract


def test_fast_asks_for_fewer_windows_and_accurate_for_more():
    fine = (1.5, 1.5, 1.5)
    fast, standard, accurate = (asked(preset, spacing_mm=fine) for preset in Preset)
    assert 2 * fast <= standard
    assert 2 * standard <= accurate


@pytest.mark.parametrize(("overlap", "preset"), [(0.05, Preset.FAST), (0.9, Preset.ACCURATE)])
def test_a_preset_never_turns_a_contract_the_other_way(overlap, preset):
    assert tuned(preset, leaning, contract_of(overlap=overlap))[1].overlap == overlap


def test_windows_are_mirrored_only_where_training_did_so():
    assert tuned(Preset.ACCURATE, leaning, contract_of())[0] is leaning
    two, none = asked(Preset.ACCURATE, mirrored_axes=("x", "z")), asked(Preset.ACCURATE)
    assert two == 4 * none


@pytest.mark.parametrize("axes", [(2,), (3, 4), (2, 3, 4)])
def test_mirrored_windows_get_mirrored_answers(axes):
    windows = np.random.default_rng(1).normal(size=(3, 1, 6, 5, 7)).astype(np.float32)
    both = mirrored(leaning, axes)
    for axis in (2, 3, 4):
        there, back = both(windows), np.flip(both(np.flip(windows, axis)), axis)
        assert np.allclose(there, back, atol=1e-4) == (axis in axes)


def test_the_mean_is_that_of_all_mirror_images():
    windows = np.random.default_rng(1).normal(size=(2, 1, 6, 5, 7)).astype(np.float32)
    by_hand = (leaning(windows) + leaning(windows[:, :, ::-1])[:, :, ::-1]) / 2
    np.testing.assert_allclose(mirrored(leaning, (2,))(windows), by_hand, atol=1e-5)


def test_fast_and_accurate_exclude_each_other():
    assert Preset.of(fast=True, accurate=False) is Preset.FAST
    with pytest.raises(InputError, match="must be one of fast and accurate, got both"):
        Preset.of(fast=True, accurate=True)
