"""Whoever kills a stage finds its outputs whole, old or new, or not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders import affine_of, case_of, save_lits
from dyntransnet.imaging.scan import write_mask, write_scan

SCRIPT = Path(__file__).with_name("interrupted.py")
KILLS, AGAIN = {"ingest": 6, "preprocess": 14}, {"ingest": 3, "preprocess": 1}
"""Twenty; the processes of ``ingest`` import the package every time, so it gets the fewer."""


def save_input(stage: str, folder: Path, seed: int) -> None:
    for number in range(2):
        scan, mask = case_of(
            affine=affine_of(code="LPS", tilt_deg=4.0 * number), seed=seed + number
        )
        if stage == "ingest":
            save_lits(folder, number, scan, mask)
        else:
            write_scan(scan, folder / f"volume-{number}" / "scan.nii.gz")
            write_mask(mask, folder / f"volume-{number}" / "mask.nii.gz")


@pytest.fixture(scope="module", params=KILLS)
def told(request, tmp_path_factory) -> dict:
    """What interrupted.py says of a stage that it kills at random moments."""
    stage, root = request.param, tmp_path_factory.mktemp(request.param)
    for seed, name in enumerate(("old", "new")):
        save_input(stage, root / name, 10 * seed)
    (root / "data").mkdir()
    numbers = map(str, (KILLS[stage], AGAIN[stage], 7))
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), stage, str(root), *numbers],
        env=one_thread, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout) | {"stage": stage}


def test_the_two_inputs_give_the_same_outputs_with_other_content(told):
    assert told["old"].keys() == told["new"].keys()
    assert not told["old"].items() & told["new"].items()


def test_a_killed_run_leaves_whole_outputs_of_one_input_or_none(told):
    for run in told["killed"] + told["interrupted"]:
        assert run["left"].items() <= told["old"].items() or (
            run["left"].items() <= told["new"].items()
        )


def test_no_process_outlives_the_one_that_was_killed(told):
    runs = told["killed"] + told["interrupted"]
    assert len(runs) >= KILLS[told["stage"]] + 2
    assert {run["outlived by"] for run in runs} == {0}


def test_the_next_run_ends_as_if_nothing_had_been(told):
    assert told["again"] == [told["new"]] * (KILLS[told["stage"]] // AGAIN[told["stage"]])


def test_ctrl_c_leaves_nothing_temporary(told):
    assert [run["temporary"] for run in told["interrupted"]] == [0, 0]
