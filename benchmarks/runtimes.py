"""An exported model in every runtime and precision: seconds of the processor, in turns, and Dice.

    python benchmarks/runtimes.py models/onnx data/cache [--cores 1] [--repeats 5] [--windows 4]
        [--cases data/cases --splits data/splits.json] [--out build/runtimes.json]

All forms see the same windows, one batch after another, in one process that keeps to its first
cores. Processor time is that of all threads together, so that other work on the machine shows less.
With ``--cases`` each form also segments the test scans, and the mean Dice against the truth is
compared with that of ONNX Runtime in fp32.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime

from dyntransnet.contract import Contract
from dyntransnet.imaging.scan import read_mask, read_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.imaging.tiling import Predict
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.proof import computed_in
from dyntransnet.runtimes.samples import liver_windows
from dyntransnet.scoring.overlap import CLASSES, dice

FORMS = (
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
Clock = Callable[[], float]


def seconds_in_turns(
    predictors: dict[str, Predict], windows: np.ndarray, repeats: int
) -> dict[str, dict[str, list[float]]]:
    """Processor and wall seconds of each form for one batch; the first turn warms up."""
    clocks: dict[str, Clock] = {"processor": time.process_time, "wall": time.perf_counter}
    found = {form: {clock: list[float]() for clock in clocks} for form in predictors}
    for turn in range(repeats + 1):
        for form, predict in predictors.items():
            begun = {clock: now() for clock, now in clocks.items()}
            predict(windows)
            taken = {clock: now() - begun[clock] for clock, now in clocks.items()}
            if turn:
                for clock, seconds in taken.items():
                    found[form][clock].append(seconds)
    return found


def mean_dices(predict: Predict, contract: Contract, cases: list[Path]) -> dict[str, float]:
    """Against the truth, over whole scans that have the class."""
    found: dict[str, list[float]] = {name: [] for name in CLASSES}
    for case in cases:
        truth = read_mask(case / "mask.nii.gz").labels
        mask = segment(read_scan(case / "scan.nii.gz"), predict, contract).labels
        for name, label in CLASSES.items():
            found[name].append(dice(truth >= label, mask >= label))
    return {name: float(np.nanmean(values)) for name, values in found.items()}


def row_of(seconds: dict[str, list[float]], base: dict[str, list[float]]) -> dict[str, float]:
    """Spread of one form, and how many times faster than the base its best turn was."""
    taken = seconds["processor"]
    return {
        "seconds_min": min(taken),
        "seconds_median": statistics.median(taken),
        "seconds_max": max(taken),
        "wall_min": min(seconds["wall"]),
        "times_faster": min(base["processor"]) / min(taken),
        "times_faster_median": statistics.median(base["processor"]) / statistics.median(taken),
    }


def keep_to(cores: int) -> None:
    """Let this process run on its first cores alone.

    ONNX Runtime is told apart: its threads run, and wait busily, on all cores of the machine.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    onnxruntime.InferenceSession = partial(onnxruntime.InferenceSession, sess_options=options)


def conditions() -> dict[str, object]:
    """What the numbers hang on."""
    packages = ("onnxruntime", "openvino", "numpy")
    cores = sorted(os.sched_getaffinity(0))
    return {
        "cores": len(cores),
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
        **{name: version(name) for name in packages},
    }


def main() -> None:
    """Print a table, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--splits", type=Path, default=Path("data/splits.json"))
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    keep_to(given.cores)
    contract = Contract.load(given.model)
    predictors = {" ".join(form): load(given.model, *form)[0] for form in FORMS}
    windows = liver_windows(given.cache, contract, given.windows)
    seconds = seconds_in_turns(predictors, windows, given.repeats)
    base = next(iter(predictors))
    rows = {form: row_of(found, seconds[base]) for form, found in seconds.items()}
    if given.cases:
        cases = [given.cases / case for case in json.loads(given.splits.read_text())["test"]]
        dices = {form: mean_dices(one, contract, cases) for form, one in predictors.items()}
        for form, row in rows.items():
            for name in CLASSES:
                row[f"dice_{name}"] = dices[form][name]
                row[f"dice_change_{name}"] = dices[form][name] - dices[base][name]
    print(conditions())
    for (runtime, precision), row in zip(FORMS, rows.values(), strict=True):
        told = "  ".join(f"{name} {value:.4f}" for name, value in row.items())
        print(f"{runtime} {precision} (floats in {computed_in(runtime, precision)})  {told}")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        found = {"conditions": conditions(), "forms": rows}
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
