"""A short training whose scores are known: does a change make networks learn worse?

The pipeline's own stages, from phantoms to scores, with small scans, a small network and few
steps. What it writes is held against scores in git by the gate.
"""

import json
from pathlib import Path

import torch

from dyntransnet.atomic import new_folder
from dyntransnet.config import Params
from dyntransnet.runtimes.torch_runtime import load
from dyntransnet.scoring.records import CASES_FILE, write_cases
from dyntransnet.scoring.trial import run_trials
from dyntransnet.stages import ingest, preprocess, split, train


def run(out: Path, params: Params) -> None:
    """Train and score.

    Args:
        out: folder to write: cases.csv, and what the stages write.
        params: of every stage; ``ingest.source`` has the phantoms.
    """
    torch.set_num_threads(1)  # the order of a sum, and with it its rounding, hangs on their number
    with new_folder(out) as folder:
        cases, manifest, splits = folder / "cases", folder / "manifest.json", folder / "splits.json"
        ingest.run(params.ingest.source, cases=cases, manifest=manifest, params=params.ingest)
        split.run(manifest, splits, params.split)
        preprocess.run(cases, folder / "cache", params.preprocess)
        train.run(
            folder / "cache",
            splits,
            manifest,
            out=folder / "checkpoint",
            report=folder / "train",
            resume=folder / "resume",
            network=params.network,
            params=params.train,
            study={},
        )
        predict, contract = load(folder / "checkpoint")
        test = json.loads(splits.read_text())["test"]
        trials = run_trials(cases, test, predict, contract)
        write_cases({trial.case: trial.scores for trial in trials}, folder / CASES_FILE)
