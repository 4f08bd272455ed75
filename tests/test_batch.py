"""Many scans: what is read, segmented and written when, and what one bad scan does to the rest."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from builders import case_of, contract_of
from dyntransnet import batch
from dyntransnet.batch import Outcome, State, records_of, run_jobs
from dyntransnet.errors import OutputError, ScanError, ServingError
from dyntransnet.files import Job, Segmenter, plan_jobs
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.scan import Scan, read_mask, read_scan, write_scan
from dyntransnet.imaging.segment import Segmentation
from dyntransnet.ledger import LEDGER


def bright(scan: Scan) -> Segmentation:
    return answer(
        scan, lambda w: np.concatenate([9 * w, 9 * (w - 0.5)], axis=1), contract_of()
    )  # fmt: skip


def jobs_of(folder: Path, count: int, **also: bool) -> list[Job]:
    if not (folder / "in").exists():
        for n in range(count):
            write_scan(case_of(seed=n)[0], folder / "in" / f"{n}.nii")
    options = {"report": False, "preview": False} | also
    return plan_jobs([folder / "in"], folder / "out", **options)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def states(outcomes: list[Outcome]) -> dict[str, str]:
    return {each.job.mask.name: each.state.value for each in outcomes}


def test_many_jobs_end_in_order_and_in_the_masks_of_one(tmp_path):
    jobs = jobs_of(tmp_path, 4)
    done = list(run_jobs(jobs, bright))
    assert [each.job for each in done] == jobs
    for each in done:
        np.testing.assert_array_equal(read_mask(each.job.mask).labels, each.found.mask.labels)
        local = bright(read_scan(each.job.scan)).mask.labels
        np.testing.assert_array_equal(each.found.mask.labels, local)


def watched(monkeypatch, tmp_path, free: int) -> list[str]:
    """What happens in which order, where a scan is segmented slowly."""
    seen, second = [], threading.Event()

    def read(job: Job) -> Scan:
        seen.append(f"read {job.source.stem}")
        if job.source.stem == "1":
            second.set()
        return read_scan(job.source)

    def segment(scan: Scan) -> Segmentation:
        second.wait(0.2 if free < 1000 else 20)
        seen.append(f"segment {scan.id}")
        return bright(scan)

    monkeypatch.setattr(Job, "read", read)
    monkeypatch.setattr(batch, "free_bytes", lambda: free)
    list(run_jobs(jobs_of(tmp_path, 2), segment))
    return seen


def test_the_next_scan_is_read_while_one_is_segmented(tmp_path, monkeypatch):
    seen = watched(monkeypatch, tmp_path, 10**9)
    assert seen == ["read 0", "read 1", "segment 0", "segment 1"]


def test_where_memory_is_short_the_next_scan_is_read_afterwards(tmp_path, monkeypatch):
    seen = watched(monkeypatch, tmp_path, 100)
    assert seen == ["read 0", "segment 0", "read 1", "segment 1"]


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_scans_are_on_their_way_than_asked_for(tmp_path, parallel):
    lock, now, most = threading.Lock(), [0], [0]

    def segment(scan: Scan) -> Segmentation:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.1)
        with lock:
            now[0] -= 1
        return bright(scan)

    done = list(run_jobs(jobs_of(tmp_path, 7), segment, parallel=parallel))
    assert most == [parallel]
    assert states(done) == {f"{n}.nii": "done" for n in range(7)}


def test_a_bad_scan_does_not_stop_the_others(tmp_path):
    jobs = jobs_of(tmp_path, 4)
    jobs[2].scan.write_bytes(b"no image")
    done = list(run_jobs(jobs, bright))
    assert states(done) == {f"{n}.nii": "failed" if n == 2 else "done" for n in range(4)}
    (error,) = (each.error for each in done if each.error)
    assert isinstance(error, ScanError)
    assert str(error).startswith("2: 2.nii must be a readable image")
    assert names_in(tmp_path / "out") == ["0.nii", "1.nii", "3.nii"]


def test_a_server_that_fails_leaves_nothing_of_that_scan(tmp_path):
    def refuse(scan: Scan) -> Segmentation:
        if scan.id == "0":
            raise ServingError("the server must answer, got nothing")
        return bright(scan)

    done = list(run_jobs(jobs_of(tmp_path, 2, report=True), refuse))
    assert [each.state for each in done] == [State.FAILED, State.DONE]
    assert names_in(tmp_path / "out") == ["1.json", "1.nii"]


def test_what_cannot_be_written_is_told(tmp_path):
    jobs = jobs_of(tmp_path, 3)
    jobs[0].mask.mkdir(parents=True)
    done = list(run_jobs(jobs, bright))
    assert isinstance(done[0].error, OutputError)
    assert [each.state.value for each in done] == ["failed", "done", "done"]


def test_a_bug_is_no_failed_scan(tmp_path):
    with pytest.raises(ZeroDivisionError):
        list(run_jobs(jobs_of(tmp_path, 3), lambda scan: 1 / 0))


def test_who_stops_does_not_wait_for_what_is_on_its_way(tmp_path):
    slow = threading.Event()

    def segment(scan: Scan) -> Segmentation:
        if scan.id != "0":
            slow.wait(20)
        return bright(scan)

    outcomes = run_jobs(jobs_of(tmp_path, 3), segment)
    next(outcomes)
    begun = time.monotonic()
    outcomes.close()
    assert time.monotonic() - begun < 5
    slow.set()


class Model:
    """Segments, and counts how often."""

    def __init__(self, model_sha256: str = "a", **options: str) -> None:
        self.asked: list[str] = []
        self.origins = 0
        self.sha = model_sha256
        self.segmenter = Segmenter(self.ask, self.origin, {"by": "test"} | options)

    def ask(self, scan: Scan) -> Segmentation:
        self.asked.append(scan.id)
        found = bright(scan)
        return Segmentation(found.mask, found.report | {"network": "n", "model_sha256": self.sha})

    def origin(self) -> dict[str, str]:
        self.origins += 1
        return {"network": "n", "model_sha256": self.sha}

    def run(self, folder: Path, *, again: bool = False, **also: bool) -> dict[str, str]:
        jobs = jobs_of(folder, 3, **also)
        records = records_of(jobs, folder / "out", self.segmenter, again=again)
        return states(list(run_jobs(jobs, self.segmenter.ask, records=records)))


ALL = {f"{n}.nii": "done" for n in range(3)}
NONE = dict.fromkeys(ALL, "skipped")


@pytest.fixture
def done(tmp_path) -> Path:
    """A folder whose scans are segmented."""
    model = Model()
    assert model.run(tmp_path, report=True) == ALL
    assert model.origins == 0  # nothing to compare with
    return tmp_path


def test_what_is_done_is_left_alone(done):
    before = {path: path.stat().st_mtime_ns for path in (done / "out").iterdir()}
    model = Model()
    assert model.run(done, report=True) == model.run(done) == NONE
    assert (model.asked, model.origins) == ([], 2)
    assert before == {path: path.stat().st_mtime_ns for path in (done / "out").iterdir()}


def test_again_does_it_again(done):
    assert Model().run(done, again=True) == ALL


@pytest.mark.parametrize("model", [Model("b"), Model(preset="fast"), Model(by="other")])
def test_another_model_or_option_does_all_again(done, model):
    assert model.run(done) == ALL
    assert model.run(done) == NONE


def test_only_what_changed_is_done_again(done):
    write_scan(case_of(seed=9)[0], done / "in" / "0.nii")
    (done / "out" / "1.nii").unlink()
    assert Model().run(done) == {"0.nii": "done", "1.nii": "done", "2.nii": "skipped"}


def test_a_result_that_was_not_asked_for_before_is_made(done):
    assert Model().run(done, report=True, preview=True) == ALL
    (done / "out" / "2.json").write_text("{}")
    assert Model().run(done, report=True) == NONE | {"2.nii": "done"}


def test_a_scan_that_was_only_copied_again_is_the_same(done):
    os.utime(done / "in" / "0.nii", (1, 1))
    assert Model().run(done) == NONE


def test_a_mask_that_somebody_corrected_is_not_replaced(done):
    mask = done / "out" / "1.nii"
    content = bytearray(mask.read_bytes())
    content[-1] ^= 1
    mask.write_bytes(content)
    jobs, model = jobs_of(done, 3), Model("b")
    records = records_of(jobs, done / "out", model.segmenter, again=False)
    outcomes = list(run_jobs(jobs, model.ask, records=records))
    assert states(outcomes) == ALL | {"1.nii": "failed"}
    (error,) = (each.error for each in outcomes if each.error)
    assert "1.nii: must be as it was written, got a mask that was changed since" in str(error)
    assert mask.read_bytes() == content
    assert model.run(done, again=True)["1.nii"] == "done"


@pytest.mark.parametrize("damage", [lambda text: text[:-20], lambda text: "{}\nno json\n[1]\n"])
def test_a_damaged_record_costs_no_more_than_the_work(done, damage):
    file = done / "out" / LEDGER
    file.write_text(damage(file.read_text()))
    found = Model().run(done)
    assert found["2.nii"] == "done"
    assert Model().run(done) == NONE


def test_masks_of_another_program_are_replaced_as_ever(tmp_path):
    jobs_of(tmp_path, 3)
    write_scan(case_of()[0], tmp_path / "out" / "0.nii")
    assert Model().run(tmp_path) == ALL


def test_where_the_server_does_not_say_its_model_nothing_is_taken_for_done(done):
    model = Model()

    def origin() -> dict[str, str]:
        raise ServingError("a server must be there, got none")

    jobs = jobs_of(done, 3)
    segmenter = Segmenter(model.ask, origin, {"by": "test"})
    records = records_of(jobs, done / "out", segmenter, again=False)
    outcomes = list(run_jobs(jobs, model.ask, records=records))
    assert {each.state for each in outcomes} == {State.FAILED}
    assert isinstance(outcomes[0].error, ServingError)


def test_of_one_mask_that_was_named_no_record_is_kept(tmp_path):
    write_scan(case_of()[0], tmp_path / "in" / "0.nii")
    mask = tmp_path / "mask.nii"
    jobs = plan_jobs([tmp_path / "in" / "0.nii"], mask, report=False, preview=False)
    assert records_of(jobs, mask, Model().segmenter, again=False) is None
