"""A scan file to its mask file, by this package, MONAI and nnU-Net, in turns in one run.

    make bench-peers
    python benchmarks/segmentation.py SCAN --model models/onnx --checkpoint models/checkpoint \
        --peer build/peers/bin/python --truth MASK

Every side keeps its network loaded in a process of its own (benchmarks/sides.py), works once
before the clock starts, and then once in each round. All run the same network with the same
weights, windows, overlap and batches. Memory is the most that the process takes, its libraries and
its network included. Without --peer, only this package's runtimes are compared. ``--double`` shows
the scan with twice the voxels along x and y, as LiTS ships what was halved.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rows import Row, conditions, ratios, write

from dyntransnet.contract import Contract
from dyntransnet.imaging.geometry import Placement
from dyntransnet.imaging.scan import Scan, read_mask, read_scan, write_scan
from dyntransnet.scoring.overlap import CLASSES, dice

SIDES = Path(__file__).with_name("sides.py")
SOURCES = Path(__file__).parents[1] / "src"
PEERS = {"monai": "MONAI", "nnunet": "nnU-Net"}
GOALS = {"monai": ">= 5", "nnunet": ">= 3"}

Found = dict[str, float]


class Side:
    """A process that works when it is asked to."""

    def __init__(self, name: str, process: subprocess.Popen[str], mask: Path) -> None:
        self.name, self.process, self.mask = name, process, mask
        self.found: list[Found] = []

    def work(self) -> Found:
        """Once."""
        print("again", file=self.process.stdin, flush=True)
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            sys.exit(f"{self.name}: ended with exit code {self.process.wait()}")
        return dict(json.loads(line))

    def all(self, key: str) -> list[float]:
        """One value of each round."""
        return [found[key] for found in self.found]


@contextmanager
def started(name: str, python: str, model: Path, scan: Path, mask: Path) -> Iterator[Side]:
    """A side; what it prints goes to stderr."""
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    command = [python, str(SIDES), name, str(model), str(scan), str(mask)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        try:
            yield Side(name, process, mask)
        finally:
            process.stdin.close()


def measured(
    asked: argparse.Namespace, scan: Path, folder: Path, rounds: int
) -> tuple[dict[str, Side], dict[str, np.ndarray]]:
    """Every side's rounds, and its mask."""
    places = dict.fromkeys(asked.runtimes, (sys.executable, asked.model))
    places["torch"] = (sys.executable, asked.checkpoint)
    if asked.peer:
        places |= dict.fromkeys(PEERS, (asked.peer, asked.checkpoint))
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                started(name, python, model, scan, folder / name / "mask.nii.gz")
            )
            for name, (python, model) in places.items()
        }
        for side in sides.values():
            side.mask.parent.mkdir(exist_ok=True)
            side.work()
        for _ in range(rounds):
            for side in sides.values():
                side.found.append(side.work())
    return sides, {name: read_mask(side.mask).labels for name, side in sides.items()}


def rows_of(sides: Mapping[str, Side], ours: Sequence[str]) -> list[Row]:
    """Ratios round by round; the first of ours stands for it."""
    first, seconds = sides[ours[0]], {name: side.all("seconds") for name, side in sides.items()}
    rows = [
        Row(f"{PEERS[name]}, seconds over ours through {one}", GOALS[name],
            ratios(seconds[name], seconds[one]))
        for name in PEERS if name in sides for one in ours
    ]  # fmt: skip
    for name in PEERS:
        if name in sides:
            peak = ratios(first.all("peak_mib"), sides[name].all("peak_mib"))
            theirs = ratios(seconds[name], seconds["torch"])
            rows += [
                Row(f"{PEERS[name]}, the same with torch on both sides: the path", "", theirs),
                Row(f"peak memory, share of {PEERS[name]}'s", "<= 0.5", peak),
            ]
    for name in ours:
        outside = [1 - share for share in ratios(sides[name].all("network_s"), seconds[name])]
        runtime = ratios(sides["torch"].all("network_s"), sides[name].all("network_s"))
        rows += [
            Row(f"torch's network over {name}'s: the runtime", "", runtime),
            Row(f"share of the time outside the network, {name}", "<= 0.15", outside, 3),
            Row(f"seconds, {name}", "", seconds[name]),
            Row(f"peak MiB, {name}", "", sides[name].all("peak_mib"), 0),
        ]
    return rows


def dices(one: np.ndarray, others: Mapping[str, np.ndarray], of: str, goal: str) -> list[Row]:
    """How far masks agree, for each class."""
    return [
        Row(f"Dice {name}, {side} with {of}", goal, [dice(one >= label, mask >= label)], 4)
        for side, mask in others.items()
        for name, label in CLASSES.items()
    ]


def doubled(scan: Scan) -> Scan:
    """Twice the voxels along x and y, between the same outer edges."""
    affine = scan.affine @ np.diag([0.5, 0.5, 1.0, 1.0])
    affine[:3, 3] = scan.affine[:3, 3] - 0.25 * scan.affine[:3, :2].sum(axis=1)
    return Scan(scan.id, scan.voxels.repeat(2, axis=0).repeat(2, axis=1), affine)


def on_grid(scan: Scan, contract: Contract) -> Scan:
    """A scan that lies on the network's grid already: what differs then is not resampling."""
    placement = Placement.of(scan.voxels.shape, scan.affine, contract.spacing_mm)
    volume = placement.volume_of(scan.voxels)
    # Along LPS, as the LiTS scans.
    affine = np.diag([-edge for edge in contract.spacing_mm[:2]] + [contract.spacing_mm[2], 1.0])
    return Scan(scan.id, np.rint(volume[::-1, ::-1]).astype(np.int16), affine)


def main() -> None:
    """Write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="exported")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the same network in torch")
    parser.add_argument("--peer", help="python of the environment of make bench-peers")
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "openvino bf16"])
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, scan, path = Path(name), read_scan(asked.scan), asked.scan
        if asked.double:
            scan, path = doubled(scan), folder / "scan.nii.gz"
            write_scan(scan, path)
        sides, masks = measured(asked, path, folder, asked.repeats)
        aligned = folder / "aligned.nii.gz"
        write_scan(on_grid(scan, Contract.load(asked.checkpoint)), aligned)
        _, on_one_grid = measured(asked, aligned, folder, 0)
    first = asked.runtimes[0]
    rows = rows_of(sides, asked.runtimes)
    others = {name: mask for name, mask in masks.items() if name != first}
    rows += dices(masks[first], others, first, "")
    for name in others:
        # nnU-Net lays its windows elsewhere, and rounding is none of this.
        goal = ">= 0.999" if name in ("torch", "monai") else ""
        one = {f"{name} on the network's grid": on_one_grid[name]}
        rows += dices(on_one_grid[first], one, first, goal)
    if asked.truth:
        truth = read_mask(asked.truth).labels
        truth = truth.repeat(2, axis=0).repeat(2, axis=1) if asked.double else truth
        rows += dices(truth, masks, "truth", "")
    facts: dict[str, Any] = {"scan": asked.scan.name, "voxels": scan.voxels.shape}
    windows = int(sides[first].found[0]["windows"])
    write(asked.out, "segmentation", rows, conditions(**facts, windows=windows))


if __name__ == "__main__":
    main()
