"""How time and memory grow with the length of a scan, around a network that costs next to nothing.

    python benchmarks/length.py

Scans of 512 x 512 x 100 to 1000 voxels of 0.75 x 0.75 x 1 mm: a body, a liver of one size, air.
Each is read from a file and its mask written, in a process of its own. ``--finest`` adds 1000
slices on a network's grid as fine as the scan.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from memory import memory_mib, reset_peak
from rows import Row, conditions, ratios, write

from dyntransnet.contract import Contract, IntensityWindow, NetworkSpec
from dyntransnet.imaging.scan import Scan, read_scan, write_mask, write_scan
from dyntransnet.imaging.segment import segment

SPACING_MM = (0.75, 0.75, 1.0)
LENGTHS = (100, 250, 500, 1000)
GRIDS = {"coarse": (2.0, 2.0, 3.0), "finest": SPACING_MM}
PATCHES = {"coarse": (112, 112, 48), "finest": (128, 128, 64)}


def made(slices: int) -> Scan:
    """A body of noise with a liver in its middle."""
    x, y = np.ogrid[-1:1:512j, -1:1:512j]
    inside, liver = x**2 + (y / 0.7) ** 2 < 0.8, (x - 0.3) ** 2 + y**2 < 0.1
    noise = np.random.default_rng(0).normal(0, 15, (512, 512)).astype(np.int16)
    voxels = np.empty((512, 512, slices), np.int16, order="F")
    middle = range((slices - 80) // 2, (slices + 80) // 2)
    for at in range(slices):
        plane = np.where(inside, np.roll(noise, 7 * at, axis=0) - 20, np.int16(-1000))
        voxels[:, :, at] = np.where(liver & (at in middle), plane + 130, plane)
    return Scan("made", voxels, np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0]))


def bright(windows: np.ndarray) -> np.ndarray:
    """Liver where it is bright."""
    return np.concatenate([20 * windows - 4, 20 * windows - 30], axis=1)


def contract(grid: str) -> Contract:
    """CT on a grid."""
    return Contract(
        network=NetworkSpec(name="bright", options={}), spacing_mm=GRIDS[grid],
        patch_size=PATCHES[grid], intensity=IntensityWindow(low_hu=-160, high_hu=240), overlap=0.5,
        manifest_sha256="", model_sha256="",
    )  # fmt: skip


def run_one(path: Path, grid: str) -> None:
    """In a process of its own: print seconds and memory of one scan."""
    loaded = memory_mib("VmRSS")
    reset_peak()
    begun = time.perf_counter()
    scan = read_scan(path)
    mask = segment(scan, bright, contract(grid))
    write_mask(mask, path.with_name("mask.nii.gz"))
    seconds = time.perf_counter() - begun
    if not 4e5 < np.count_nonzero(mask.labels) < 4e6:
        sys.exit("length: the liver must be found")
    taken = memory_mib("VmHWM") - loaded
    kept = (scan.voxels.nbytes + mask.labels.nbytes) / 2**20
    print(json.dumps({"seconds": seconds, "taken_mib": taken, "beside_mib": taken - kept}))


def main() -> None:
    """Write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--finest", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--one", nargs=2, metavar=("SCAN", "GRID"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        run_one(Path(asked.one[0]), asked.one[1])
        return
    tasks = [(slices, "coarse") for slices in LENGTHS]
    tasks += [(LENGTHS[-1], "finest")] if asked.finest else []
    found: dict[tuple[int, str], list[dict[str, float]]] = {task: [] for task in tasks}
    with tempfile.TemporaryDirectory() as folder:
        for slices in LENGTHS:
            write_scan(made(slices), Path(folder) / f"{slices}.nii")
        for turn in range(asked.repeats):
            for slices, grid in tasks if turn == 0 else tasks[: len(LENGTHS)]:
                path = str(Path(folder) / f"{slices}.nii")
                command = [sys.executable, __file__, "--one", path, grid]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{slices} slices: {done.stderr}")
                found[slices, grid].append(json.loads(done.stdout))
    write(asked.out, "length", rows_of(found), conditions(spacing_mm=SPACING_MM, grids_mm=GRIDS))


def rows_of(found: dict[tuple[int, str], list[dict[str, float]]]) -> list[Row]:
    """A row for each figure of each length, and time per slice against the shortest."""
    rows = []
    for (slices, grid), runs in found.items():
        name = f"{slices} slices" + (", grid of the scan" if grid == "finest" else "")
        of = {key: [run[key] for run in runs] for key in runs[0]}
        goal = "<= 4096" if grid == "finest" else ""
        rows += [
            Row(f"{name}: seconds", "", of["seconds"]),
            Row(f"{name}: MiB", goal, of["taken_mib"], 0),
            Row(f"{name}: MiB beside the scan and its mask", "flat", of["beside_mib"], 0),
        ]
    one, other = (
        [run["seconds"] / slices for run in found[slices, "coarse"]]
        for slices in (LENGTHS[0], LENGTHS[-1])
    )
    return [*rows, Row("seconds a slice, 1000 over 100 slices", "1", ratios(other, one))]


if __name__ == "__main__":
    main()
