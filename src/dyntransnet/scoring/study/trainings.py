"""The folders of a study: one for each training of each variant.

``<variant>-seed<seed>-fold<fold>`` holds ``train`` as ``train`` reports it, ``scores`` as
``evaluate`` writes them, and ``masks`` where they were kept. Folders of other names are
left alone.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dyntransnet.errors import InputError, ParamsError
from dyntransnet.scoring.overlap import CLASSES, Row
from dyntransnet.scoring.records import Curve, read_cases, read_curve
from dyntransnet.scoring.statistics import known_mean

FOLDER = re.compile(r"(?P<variant>.+)-seed(?P<seed>\d+)-fold(?P<fold>\w+)")
PARTS = (
    "scores/cases.csv",
    "scores/metrics.json",
    "train/loss.csv",
    "train/validation.csv",
    "train/run.json",
)
ROUNDED = 1e-5
"""A mean of cases.csv, which keeps six digits, may lie this far from the unrounded one."""


@dataclass(frozen=True)
class Training:
    """One training of one variant, scored.

    Attributes:
        variant: which network or recipe.
        seed: of the training.
        fold: which one it was validated or tested on.
        scores: case to class to what ``score_case`` gave; NaN where not defined.
        losses: rows with ``step`` and ``loss``.
        validations: rows with ``step`` and, where defined, ``dice_<class>``.
        facts: what the training says of itself.
        test_set: what ``evaluate`` says of it: ``sha256`` names the scans behind the
            cases, ``nsd_mm`` the tolerances; empty where that is not known.
    """

    variant: str
    seed: int
    fold: str
    scores: Mapping[str, Mapping[str, Row]]
    losses: Curve
    validations: Curve
    facts: Mapping[str, Any]
    test_set: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As its folder is called."""
        return f"{self.variant}-seed{self.seed}-fold{self.fold}"


def read_trainings(runs: Path) -> list[Training]:
    """Every training in a folder, in order of name.

    Raises:
        InputError: some are not complete, or their files contradict each other; all are
            listed.
    """
    named = {
        path: found
        for path in sorted(runs.iterdir())
        if path.is_dir() and (found := FOLDER.fullmatch(path.name))
    }
    if lacking := [
        f"{path.name} ({', '.join(gone)})"
        for path in named
        if (gone := [part for part in PARTS if not (path / part).is_file()])
    ]:
        raise InputError(
            f"{runs}: every training must be complete, got none of {', '.join(lacking)}"
        )
    trainings = [_read(path, found) for path, found in named.items()]
    if wrong := [
        run.name for path, run in zip(named, trainings, strict=True) if _differs(path, run)
    ]:
        raise InputError(
            f"{runs}: metrics.json must hold the mean Dice of cases.csv, "
            f"got another in {', '.join(wrong)}"
        )
    return trainings


def check_same_cases(trainings: Sequence[Training]) -> None:
    """Scores are comparable only on the same scans: fold by fold, and over all folds.

    Raises:
        ParamsError: some were scored on other cases, or lack folds; all are listed.
    """
    wrong = _uneven(trainings)
    for fold in sorted({run.fold for run in trainings}):
        sets = {run.name: _scored_on(run) for run in trainings if run.fold == fold}
        usual, _ = Counter(sets.values()).most_common(1)[0]
        wrong += [
            f"{name} (other cases or tolerances)" for name, own in sets.items() if own != usual
        ]
    if wrong:
        raise ParamsError(
            f"compare: trainings must be scored on the same cases, got {', '.join(wrong)}"
        )


def _scored_on(run: Training) -> tuple[frozenset[str], str]:
    """Its cases, and the scans and tolerances behind them."""
    origin = {key: run.test_set.get(key) for key in ("sha256", "nsd_mm")}
    return frozenset(run.scores), json.dumps(origin, sort_keys=True)


def _uneven(trainings: Sequence[Training]) -> list[str]:
    """Seeds of variants that lack folds which others have."""
    folds: dict[str, set[str]] = {}
    for run in trainings:
        folds.setdefault(f"{run.variant}-seed{run.seed}", set()).add(run.fold)
    every = set().union(*folds.values())
    return [
        f"{name} (without fold {', '.join(sorted(every - own))})"
        for name, own in folds.items()
        if own != every
    ]


def _read(path: Path, named: re.Match[str]) -> Training:
    test_set = path / "scores/test_set.json"
    return Training(
        variant=named["variant"],
        seed=int(named["seed"]),
        fold=named["fold"],
        scores=read_cases(path / "scores/cases.csv"),
        losses=read_curve(path / "train/loss.csv"),
        validations=read_curve(path / "train/validation.csv"),
        facts=json.loads((path / "train/run.json").read_text()),
        test_set=json.loads(test_set.read_text()) if test_set.is_file() else {},
    )


def _differs(path: Path, run: Training) -> bool:
    """Whether scores and their summary come from two evaluations."""
    stated = json.loads((path / "scores/metrics.json").read_text())
    for name in CLASSES:
        found = known_mean([row[name]["dice"] for row in run.scores.values()])
        told = stated[name]["dice"]
        if (told is None) != math.isnan(found) or (
            told is not None and abs(told - found) > ROUNDED
        ):
            return True
    return False
