"""A folder and a server: what ``dyntransnet segment`` does with both."""

import re
import shutil

import numpy as np
import pytest
from proxy import Proxy
from threshold_network import scan_of

from builders import affine_of
from dyntransnet.batch import records_of, run_jobs
from dyntransnet.client import Policy
from dyntransnet.errors import DeadlineError
from dyntransnet.files import plan_jobs, served
from dyntransnet.imaging.scan import Scan, read_mask, read_scan, write_scan
from dyntransnet.imaging.segment import segment
from terminal import run_at_terminal

pytestmark = pytest.mark.triton


@pytest.fixture
def folder(tmp_path):
    for n in range(5):
        shape = (40 + 9 * n, 50, 30 + n)
        voxels = scan_of(shape, seed=n).voxels
        write_scan(Scan("", voxels, affine_of(shape, (2.1, 1.7, 3.3))), tmp_path / f"in/{n}.nii.gz")
    return tmp_path


def run(folder, url: str, **options) -> tuple[dict[str, str], list]:
    """How each job ended, and the errors."""
    jobs = plan_jobs([folder / "in"], folder / "out", report=True, preview=False)
    with served(url, **{"timeout_s": 30.0} | options) as segmenter:
        records = records_of(jobs, folder / "out", segmenter, again=False)
        found = list(run_jobs(jobs, segmenter.ask, parallel=3, records=records))
    states = {each.job.scan.name: each.state.value for each in found}
    return states, [each.error for each in found if each.error]


def test_a_folder_is_served_side_by_side_and_then_left_alone(folder, server, network):
    states, errors = run(folder, server.url)
    assert (set(states.values()), errors) == ({"done"}, [])
    for path in (folder / "in").iterdir():
        local = segment(read_scan(path), *network)
        np.testing.assert_array_equal(read_mask(folder / "out" / path.name).labels, local.labels)
    with Proxy(server.grpc_port) as proxy:
        assert set(run(folder, proxy.url)[0].values()) == {"skipped"}
        # No scan travels to find that out.
        assert proxy.passed["up"] + proxy.passed["down"] < 10_000


def test_a_run_that_was_late_goes_on_where_it_was(folder, server):
    states, errors = run(folder, server.url, timeout_s=0.001)
    assert set(states.values()) == {"failed"}
    assert any(isinstance(error, DeadlineError) for error in errors)
    assert not [path.name for path in (folder / "out").iterdir()]
    shutil.copy(folder / "in" / "0.nii.gz", folder / "in" / "5.nii.gz")
    assert set(run(folder, server.url)[0].values()) == {"done"}
    assert set(run(folder, server.url)[0].values()) == {"skipped"}


def test_a_broken_connection_costs_no_scan(folder, server):
    policy = Policy(first_pause_s=0.05, open_s=0.2)
    with Proxy(server.grpc_port, faults=2, down_limit=20_000) as proxy:
        states, errors = run(folder, proxy.url, policy=policy)
    assert (set(states.values()), errors) == ({"done"}, [])


def test_at_a_terminal_the_windows_of_a_single_scan_are_those_of_the_server(folder, server):
    large = scan_of((150, 140, 100))
    write_scan(Scan("", large.voxels, large.affine), folder / "large.nii.gz")
    command = ("segment", "large.nii.gz", "--output", "mask.nii.gz", "--url", server.url)
    code, written, drawn = run_at_terminal(*command, cwd=folder)
    assert code == 0
    assert written.startswith("mask.nii.gz: liver ")
    steps = re.findall(r"(sending|working|done).*?(\d+)/(\d+|\?)", drawn)
    assert steps[-1][0] == "done"
    assert int(steps[-1][1]) == int(steps[-1][2]) > 20
