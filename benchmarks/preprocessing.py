"""Preprocessing of a LiTS folder: ours and nnU-Net's own, to one grid, in one run.

    make bench-peers
    python benchmarks/preprocessing.py LITS --peer build/peers/bin/python

Both read the same files, on as many workers, with one thread of BLAS in each. nnU-Net has taken
its fingerprint and made its plans before the clock starts. Wall time is that of the whole
command, imports included, the best of the repeats in turns; memory is that of all of its
processes together, shared pages counted once (PSS), in a run of its own. ``--copies`` shows
every scan that many times: imports then count for less.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLED_EVERY_S = 0.02
DATASET, CONFIGURATION = "Dataset001_LiTS", "3d_fullres"

OURS = """
import sys
from pathlib import Path
from dyntransnet.config import PreprocessParams
from dyntransnet.contract import IntensityWindow
from dyntransnet.stages.preprocess import run
cases, out, workers, *spacing = sys.argv[1:]
window = IntensityWindow(low_hu=-160, high_hu=240)
params = PreprocessParams(spacing_mm=tuple(map(float, spacing)), intensity=window)
run(Path(cases), Path(out), params, workers=int(workers))
"""

THEIRS = """
import sys
from nnunetv2.experiment_planning import plan_and_preprocess_entrypoints as commands
if __name__ == "__main__":
    getattr(commands, sys.argv.pop(1))()
"""

THEIR_SHAPES = """
import json, sys
from pathlib import Path
import blosc2
files = [path for path in Path(sys.argv[1]).glob("*.b2nd") if not path.stem.endswith("_seg")]
print(json.dumps({path.stem: blosc2.open(str(path), mode="r").shape[1:] for path in files}))
"""

OUR_SHAPES = """
import json, sys
from pathlib import Path
import numpy as np
files = Path(sys.argv[1]).glob("*/image.npy")
print(json.dumps({f.parent.name: np.load(f, mmap_mode="r").shape[::-1] for f in files}))
"""


@dataclass(frozen=True)
class Tool:
    """One side: its name, the command that is measured, the folder that this fills."""

    name: str
    command: Sequence[str]
    writes: Path


@dataclass(frozen=True)
class Task:
    """What both tools do.

    Attributes:
        lits: the scans.
        folder: temporary, for all that either tool reads or writes.
        spacing_mm: of the grid, x, y, z.
        workers: of each.
        copies: how often every scan is shown.
    """

    lits: Path
    folder: Path
    spacing_mm: tuple[float, float, float]
    workers: int
    copies: int

    def pairs(self) -> list[tuple[str, Path, Path]]:
        """Name, scan and mask of every case."""
        scans = sorted(self.lits.rglob("volume-*.nii*"))
        return [
            (f"{scan.name.split('.')[0]}-{copy}", scan, scan.with_name(_mask_of(scan)))
            for scan in scans
            for copy in range(self.copies)
        ]

    def environment(self) -> dict[str, str]:
        """One thread of BLAS in each worker, as nnU-Net's authors advise, and its folders."""
        names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        folders = {name: str(self.folder / name) for name in names}
        return os.environ | folders | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _mask_of(scan: Path) -> str:
    return scan.name.replace("volume-", "segmentation-")


def ours(task: Task) -> Tool:
    """This package, on cases as ``ingest`` lays them out."""
    cases, cache = task.folder / "cases", task.folder / "cache"
    for name, scan, mask in task.pairs():
        _link(scan, cases / name / "scan.nii.gz")
        _link(mask, cases / name / "mask.nii.gz")
    numbers = [str(task.workers), *map(str, task.spacing_mm)]
    command = [sys.executable, "-c", OURS, str(cases), str(cache), *numbers]
    return Tool("this package", command, cache)


def theirs(task: Task, peer: Path) -> Tool:
    """nnU-Net, its fingerprint taken and its plans made."""
    raw, done = task.folder / "nnUNet_raw" / DATASET, task.folder / "nnUNet_preprocessed" / DATASET
    for name, scan, mask in task.pairs():
        _link(scan, raw / "imagesTr" / f"{name}_0000.nii.gz")
        _link(mask, raw / "labelsTr" / f"{name}.nii.gz")
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "tumor": 2},
        "numTraining": len(task.pairs()),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    script = task.folder / "nnunet.py"  # a file: its workers import it
    script.write_text(THEIRS)
    spacing = [str(edge) for edge in reversed(task.spacing_mm)]
    count = ["-np", str(task.workers)]
    for step in (
        ["extract_fingerprint_entry", "-d", "1", *count],
        ["plan_experiment_entry", "-d", "1", "-overwrite_target_spacing", *spacing],
    ):
        _checked([str(peer), str(script), *step], task)
    command = [str(peer), str(script), "preprocess_entry", "-d", "1", "-c", CONFIGURATION, *count]
    plans = json.loads((done / "nnUNetPlans.json").read_text())
    return Tool(
        "nnU-Net", command, done / plans["configurations"][CONFIGURATION]["data_identifier"]
    )


def _link(stored: Path, name: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(stored.resolve())


def _checked(command: Sequence[str], task: Task) -> str:
    """What a command prints; where it fails, what it said ends all."""
    done = subprocess.run(
        command, env=task.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(
            f"{' '.join(command[:3])}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def seconds(tool: Tool, task: Task) -> tuple[float, float]:
    """Wall time of one run, and processor time of all of its processes."""
    shutil.rmtree(tool.writes, ignore_errors=True)
    begun, used = time.perf_counter(), _processor_time()
    _checked(tool.command, task)
    return time.perf_counter() - begun, _processor_time() - used


def _processor_time() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def peak_bytes(tool: Tool, task: Task) -> int:
    """The most that all processes of one run took at a time."""
    shutil.rmtree(tool.writes, ignore_errors=True)
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(tool.command, env=task.environment(), **silent)
    root, peak = psutil.Process(running.pid), 0
    while running.poll() is None:
        peak = max(peak, sum(map(_shared_out, [root, *_children(root)])))
        time.sleep(SAMPLED_EVERY_S)
    return peak


def _children(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _shared_out(process: psutil.Process) -> int:
    """A process's memory, each shared page divided among those that share it."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def same_grids(task: Task, tools: Sequence[Tool], peer: Path) -> int:
    """How many cases both brought to a grid of one size."""
    mine = json.loads(_checked([sys.executable, "-c", OUR_SHAPES, str(tools[0].writes)], task))
    other = json.loads(_checked([str(peer), "-c", THEIR_SHAPES, str(tools[1].writes)], task))
    return sum(mine[name] == other.get(name) for name in mine)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lits", type=Path)
    parser.add_argument("--peer", type=Path, required=True, help="python of nnU-Net's environment")
    parser.add_argument("--spacing-mm", type=float, nargs=3, default=(2.5, 2.5, 2.5))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        grid = tuple(asked.spacing_mm)
        task = Task(asked.lits, Path(folder), grid, asked.workers, asked.copies)
        tools = [ours(task), theirs(task, asked.peer)]
        best = {tool.name: (float("inf"), float("inf")) for tool in tools}
        for _ in range(asked.repeats):
            for tool in tools:
                best[tool.name] = min(best[tool.name], seconds(tool, task))
        peaks = {tool.name: peak_bytes(tool, task) for tool in tools}
        alike, cases = same_grids(task, tools, asked.peer), len(task.pairs())
    edges = " x ".join(f"{edge:g}" for edge in grid)
    print(f"{cases} cases to {edges} mm on {asked.workers} workers; one grid for {alike} of them\n")
    print("| tool | seconds | times ours | processor s | times ours | peak MiB | times ours |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    figures = {name: (*times, peaks[name] / 2**20) for name, times in best.items()}
    for name, row in figures.items():
        ratios = [
            f"{a:.{0 if a > 100 else 2}f} | {a / b:.1f}"
            for a, b in zip(row, figures["this package"], strict=True)
        ]
        print(f"| {name} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
