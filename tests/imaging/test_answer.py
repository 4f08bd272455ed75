import numpy as np
import pytest

from builders import affine_of, contract_of, distance_to, off_center
from dyntransnet.errors import ScanError
from dyntransnet.imaging import answer as module
from dyntransnet.imaging.answer import Stopwatch, answer
from dyntransnet.imaging.geometry import resample
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import Segmentation, probability_map, segment

SHAPE, SPACING = (44, 52, 30), (2.0, 1.7, 3.5)
OBLIQUE = affine_of(SHAPE, SPACING, "SLA", tilt_deg=9)
CONTRACT = contract_of()


def bright(windows: np.ndarray) -> np.ndarray:
    """Liver above 0 HU, tumor above 50 HU."""
    return np.concatenate([20 * windows, 20 * (windows - 0.5)], axis=1)


def unsure(windows: np.ndarray) -> np.ndarray:
    return bright(windows) / 10


def balls(affine: np.ndarray = OBLIQUE) -> Scan:
    """A liver of 20 HU with a bright lesion and a brighter, smaller one in it."""
    hu = np.where(distance_to(SHAPE, affine, off_center(0, 0, 0)) < 38, 20, -200)
    for at, radius, value in (((-14, 0, 0), 12, 60), ((16, 4, 6), 9, 90)):
        hu = np.where(distance_to(SHAPE, affine, off_center(*at)) < radius, value, hu)
    return Scan("balls", hu.astype(np.int16), affine)


def test_an_answer_measures_its_mask_and_names_its_model():
    found = answer(balls(), bright, contract_of(model_sha256="a" * 64))
    assert isinstance(found, Segmentation)
    assert found.report["liver_ml"] == measure(found.mask).liver_ml > 150
    assert (found.report["network"], found.report["model_sha256"]) == ("made", "a" * 64)


def test_answer_and_segment_give_one_mask():
    labels = answer(balls(), unsure, CONTRACT).mask.labels
    np.testing.assert_array_equal(labels, segment(balls(), unsure, CONTRACT).labels)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_each_lesion_has_the_mean_probability_of_its_voxels():
    scan = balls()
    found = answer(scan, unsure, CONTRACT)
    map_ = probability_map(scan, unsure, CONTRACT)
    near = map_.placement.on_scan_axes(map_.values[1])
    tumor = resample(near, map_.placement.to_scan)
    inside = found.mask.labels == 2
    left = distance_to(SHAPE, OBLIQUE, off_center(-14, 0, 0)) < 16
    expected = [tumor[inside & left].mean(), tumor[inside & ~left].mean()]
    told = [lesion["probability"] for lesion in found.report["lesions"]]
    assert told == pytest.approx(expected, abs=1e-5)
    assert told[1] - told[0] > 0.05


def test_probabilities_are_given_only_when_asked_for_and_fit_the_mask():
    assert answer(balls(), unsure, CONTRACT).probabilities is None
    found = answer(balls(), unsure, CONTRACT, probabilities=True)
    liver, tumor = found.probabilities
    assert (liver.shape, liver.dtype) == (SHAPE, np.uint8)
    np.testing.assert_array_equal(liver >= 128, found.mask.labels >= 1)
    np.testing.assert_array_equal((liver >= 128) & (tumor >= 128), found.mask.labels == 2)
    assert len(np.unique(liver)) > 50


def test_probabilities_are_those_of_the_network():
    scan = balls()
    found = answer(scan, unsure, CONTRACT, probabilities=True)
    map_ = probability_map(scan, unsure, CONTRACT)
    for channel, bytes_ in zip(map_.values, found.probabilities, strict=True):
        whole = resample(map_.placement.on_scan_axes(channel), map_.placement.to_scan)
        np.testing.assert_allclose(bytes_ / 255, whole, atol=0.51 / 255)


def test_probabilities_that_do_not_fit_in_memory_are_refused(monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda: 1000)
    rule = r"^balls: probabilities must fit in memory, got 1000 bytes free and 137280 to take$"
    with pytest.raises(ScanError, match=rule):
        answer(balls(), bright, CONTRACT, probabilities=True)


def test_memory_that_runs_out_is_told_in_one_line():
    def greedy(windows: np.ndarray) -> np.ndarray:
        raise MemoryError

    with pytest.raises(ScanError, match=r"^balls: must fit in memory, got none left$"):
        answer(balls(), greedy, CONTRACT)


def test_every_window_is_told_of_and_air_counts():
    told: list[tuple[int, int]] = []
    asked: list[int] = []

    def spy(windows: np.ndarray) -> np.ndarray:
        asked.append(len(windows))
        return bright(windows)

    small = distance_to(SHAPE, OBLIQUE, off_center(-20, 9, 8)) < 9
    scan = Scan("small", np.where(small, 40, -200).astype(np.int16), OBLIQUE)
    answer(scan, spy, CONTRACT, watch=lambda done, count: told.append((done, count)))
    (count,) = {of for _, of in told}
    assert [done for done, _ in told] == list(range(1, count + 1))
    assert count > sum(asked)


def test_what_a_watch_raises_ends_the_work():
    asked: list[int] = []

    def spy(windows: np.ndarray) -> np.ndarray:
        asked.append(len(windows))
        return bright(windows)

    def stop(done: int, count: int) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        answer(balls(), spy, CONTRACT, watch=stop)
    assert len(asked) == 1


def test_phases_within_phases_count_for_themselves(monkeypatch):
    times = iter([0.0, 1.0, 4.0, 5.0, 7.0, 10.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(times))
    clock = Stopwatch()
    with clock.phase("grid"):
        with clock.phase("network"):
            pass
        with clock.phase("network"):
            pass
    assert clock.seconds == {"network": 5.0, "grid": 5.0}


def test_an_answer_tells_the_time_of_its_phases():
    clock = Stopwatch()
    answer(balls(), bright, CONTRACT, stopwatch=clock)
    assert set(clock.seconds) == {"network", "grid", "mask", "report"}
    assert min(clock.seconds.values()) > 0
