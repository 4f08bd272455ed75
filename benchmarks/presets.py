"""What a mask costs by each preset, and what it is worth.

    python benchmarks/presets.py SCAN TRUTH --model models/onnx

In turns in one process. The scan should be one that training never saw.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rows import Row, conditions, ratios, write

from dyntransnet.imaging.presets import Preset, tuned
from dyntransnet.imaging.scan import read_mask, read_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.runtimes.choice import load
from dyntransnet.scoring.overlap import CLASSES, dice


def main() -> None:
    """Write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--runtime", default="openvino")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked = parser.parse_args()
    scan, truth = read_scan(asked.scan), read_mask(asked.truth).labels
    predict, contract = load(asked.model, asked.runtime)
    windows = dict.fromkeys(Preset, 0)
    seconds: dict[Preset, list[float]] = {preset: [] for preset in Preset}
    masks: dict[Preset, np.ndarray] = {}

    def counted(preset: Preset) -> Callable[[np.ndarray], np.ndarray]:
        def call(batch: np.ndarray) -> np.ndarray:
            windows[preset] += len(batch)
            return predict(batch)

        return call

    for _ in range(asked.repeats):
        for preset in Preset:
            windows[preset] = 0
            begun = time.perf_counter()
            masks[preset] = segment(scan, *tuned(preset, counted(preset), contract)).labels
            seconds[preset].append(time.perf_counter() - begun)
    rows = []
    for preset, mask in masks.items():
        time_of = ratios(seconds[preset], seconds[Preset.STANDARD])
        rows.append(Row(f"{preset}: seconds over standard's", "", time_of))
        rows.append(Row(f"{preset}: windows", "", [windows[preset]], 0))
        for other, of in ((truth, "truth"), (masks[Preset.STANDARD], "standard")):
            rows += [
                Row(f"{preset}: Dice {name} with {of}", "", [dice(other >= at, mask >= at)], 4)
                for name, at in CLASSES.items()
            ]
    write(asked.out, "presets", rows, conditions(scan=asked.scan.name))


if __name__ == "__main__":
    main()
