"""A disk that is full while results are written: one line, nothing half, and it can go on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from builders import affine_of, contract_of
from dicoms import save_series
from dyntransnet.batch import Outcome, State, records_of, run_jobs
from dyntransnet.errors import OutputError
from dyntransnet.files import Segmenter, plan_jobs
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.scan import WRITABLE, Scan, read_mask, write_mask, write_scan
from dyntransnet.imaging.segment import Segmentation
from dyntransnet.ledger import LEDGER
from hospital import CLINICAL, scan_of
from models import save_model, threshold_model

PAGE = 4096
SHAPE = (61, 52, 43)


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A small file system of its own, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(disk: Path, *, but: int) -> Path:
    """Leave so many bytes of it free."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(free - but))
    return disk / "filler"


def noise(seed: int = 0) -> Scan:
    """Its mask is as hard to compress as any."""
    voxels = np.random.default_rng(seed).integers(-100, 100, SHAPE).astype(np.int16)
    return Scan("a", np.asfortranarray(voxels), affine_of(SHAPE))


def bright(scan: Scan) -> Segmentation:
    contract = contract_of()
    found = answer(scan, lambda w: np.concatenate([9 * w, 9 * (w - 0.5)], axis=1), contract)
    return Segmentation(found.mask, found.report)


def run(source: Path, output: Path) -> list[Outcome]:
    """As ``segment --report --preview`` runs a folder."""
    jobs = plan_jobs([source], output, report=True, preview=True)
    makers = {"network": "made", "model_sha256": "1" * 64}
    segmenter = Segmenter(bright, lambda: makers, {"by": "test"})
    return list(
        run_jobs(jobs, segmenter.ask, records=records_of(jobs, output, segmenter, again=False))
    )


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def pages(*paths: Path) -> int:
    """Bytes that files take of a file system."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in paths)


def sources(folder: Path, kind: str) -> Path:
    """One scan: an image, or a series."""
    if kind == "dicom":
        save_series(folder / "in", scan_of("ASL", 14.0), **CLINICAL)
    else:
        write_scan(noise(), folder / "in" / "a.nii")
    return folder / "in"


IN_ORDER = {
    "image": ("mask", "report", "preview", "ledger"),
    "dicom": ("mask", "structured"),  # the others as of an image
}


@pytest.mark.parametrize(
    ("kind", "which"), [(kind, which) for kind, all_ in IN_ORDER.items() for which in all_]
)
def test_a_result_without_room_is_told_and_made_later(disk, tmp_path, kind, which):
    source, elsewhere, out = sources(tmp_path, kind), tmp_path / "elsewhere", disk / "out"
    (whole,) = run(source, elsewhere)
    paths = {name: getattr(whole.job, name, elsewhere / LEDGER) for name in IN_ORDER[kind]}
    before = [paths[name] for name in IN_ORDER[kind][: IN_ORDER[kind].index(which)]]
    filler = fill(disk, but=pages(*before) + pages(paths[which]) // 2)
    (failed,) = run(source, out)
    assert isinstance(failed.error, OutputError)
    said = str(failed.error)
    assert said.startswith(f"{out / paths[which].name}: must be writable, got ")
    assert len(said.splitlines()) == 1
    assert names_in(out) - {LEDGER} == {path.name for path in before}
    filler.unlink()
    assert [each.state for each in run(source, out)] == [State.DONE]
    assert names_in(out) == names_in(elsewhere)
    assert [each.state for each in run(source, out)] == [State.SKIPPED]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
@pytest.mark.parametrize("suffix", WRITABLE)
def test_of_a_mask_that_does_not_fit_nothing_is_left(disk, tmp_path, suffix, share):
    """ITK's writer of NIfTI files itself says nothing."""
    mask = bright(noise()).mask
    write_mask(mask, tmp_path / f"a{suffix}")
    filler = fill(disk, but=int(pages(tmp_path / f"a{suffix}") * share))
    with pytest.raises(OutputError, match=f"^{disk}/A{suffix}: must be writable, got ") as caught:
        write_mask(mask, disk / f"A{suffix}")
    assert len(str(caught.value).splitlines()) == 1
    assert names_in(disk) == {"filler"}
    filler.unlink()
    write_mask(mask, disk / f"A{suffix}")
    np.testing.assert_array_equal(read_mask(disk / f"A{suffix}").labels, mask.labels)


def test_the_command_ends_with_one_line_and_exit_code_1(disk, tmp_path):
    save_model(tmp_path / "model", threshold_model(0.4, 0.7))
    source = sources(tmp_path, "image")
    fill(disk, but=2 * PAGE)
    command = [sys.executable, "-m", "dyntransnet.cli", "segment", source, "--output", disk / "out"]
    done = subprocess.run(
        [*command, "--model", tmp_path / "model"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith(f"error: {disk}/out/a.nii: must be writable, got half a file")
    assert names_in(disk / "out") == set()
