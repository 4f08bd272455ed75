from pathlib import Path

import numpy as np
import pytest

from builders import case_of, contract_of
from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import Mask, Scan, read_scan, write_mask, write_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.scoring import trial
from dyntransnet.scoring.metrics import score_case

CONTRACT = contract_of()


def bright(windows: np.ndarray) -> np.ndarray:
    return np.concatenate([9 * windows, 9 * (windows - 0.5)], axis=1)


def store(folder: Path, name: str, *, seed: int) -> tuple[Scan, Mask]:
    scan, mask = case_of(seed=seed)
    write_scan(scan, folder / name / trial.SCAN_FILE)
    write_mask(mask, folder / name / trial.MASK_FILE)
    return read_scan(folder / name / trial.SCAN_FILE), mask


def test_a_trial_is_what_segment_gives_and_score_case_says(tmp_path):
    scan, truth = store(tmp_path, "volume-3", seed=3)
    (found,) = trial.run_trials(tmp_path, ["volume-3"], bright, CONTRACT)
    expected = segment(scan, bright, CONTRACT)
    np.testing.assert_array_equal(found.predicted.labels, expected.labels)
    assert found.scores == score_case(found.truth, expected)
    np.testing.assert_array_equal(found.truth.labels, truth.labels)
    assert 0.3 < found.scores["liver"]["dice"] < 1


def test_only_the_named_cases_are_tried_and_in_their_order(tmp_path):
    for seed in range(3):
        store(tmp_path, f"volume-{seed}", seed=seed)
    found = trial.run_trials(tmp_path, ["volume-2", "volume-0"], bright, CONTRACT)
    assert [one.case for one in found] == ["volume-2", "volume-0"]


def test_a_missing_case_stops_the_trials(tmp_path):
    with pytest.raises(ScanError, match=r"scan: file must exist, got no scan\.nii\.gz"):
        list(trial.run_trials(tmp_path, ["volume-7"], bright, CONTRACT))


def test_a_test_set_is_named_by_its_content_not_its_order(tmp_path):
    for seed in range(3):
        store(tmp_path, f"volume-{seed}", seed=seed)
    name = trial.test_set_hash(tmp_path, ["volume-0", "volume-1"])
    assert trial.test_set_hash(tmp_path, ["volume-1", "volume-0"]) == name
    assert trial.test_set_hash(tmp_path, ["volume-0", "volume-2"]) != name


@pytest.mark.parametrize("part", ["scan.nii.gz", "mask.nii.gz"])
def test_another_scan_or_mask_makes_another_test_set(tmp_path, part):
    store(tmp_path, "volume-0", seed=0)
    store(tmp_path, "volume-1", seed=1)
    name = trial.test_set_hash(tmp_path, ["volume-0"])
    (tmp_path / "volume-1" / part).replace(tmp_path / "volume-0" / part)
    assert trial.test_set_hash(tmp_path, ["volume-0"]) != name


def test_surfaces_are_scored_where_a_tolerance_is_given(tmp_path):
    store(tmp_path, "volume-3", seed=3)
    nsd_mm = {"liver": 3.0, "tumor": 2.0}
    (found,) = trial.run_trials(tmp_path, ["volume-3"], bright, CONTRACT, nsd_mm=nsd_mm)
    expected = score_case(found.truth, found.predicted, nsd_mm)
    assert found.scores["liver"] == expected["liver"]
    assert found.scores["liver"]["hd95_mm"] > 0
