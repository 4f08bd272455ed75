"""Who trains and who validates."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dyntransnet.config import PreprocessParams
from dyntransnet.errors import ParamsError
from dyntransnet.learning.cache import CachedCase
from dyntransnet.learning.planting import Spacing


@dataclass(frozen=True)
class Cohort:
    """The cases of one fold, memory-mapped, and their grid."""

    train: list[CachedCase]
    validation: list[CachedCase]
    spacing_mm: Spacing

    @classmethod
    def open(cls, cache: Path, splits: Path, fold: int | Literal["all"]) -> "Cohort":
        """Map a fold's cases; fold "all" trains on every one and validates on none.

        Raises:
            ParamsError: there is no such fold, or nobody in it has a tumor to learn from.
        """
        folds = json.loads(splits.read_text())["folds"]
        if fold == "all":
            train, validation = sorted({case for part in folds for case in part["train"]}), []
        elif int(fold) < len(folds):
            train, validation = folds[int(fold)]["train"], folds[int(fold)]["validation"]
        else:
            raise ParamsError(f"train.fold: must be below {len(folds)} or 'all', got {fold}")
        grid = PreprocessParams.model_validate_json((cache / "grid.json").read_text())
        cohort = cls(
            [CachedCase.open(cache / case) for case in train],
            [CachedCase.open(cache / case) for case in validation],
            grid.spacing_mm,
        )
        if not any(len(case.tumor) for case in cohort.train):
            raise ParamsError(
                f"train.fold: some training case must have a tumor, got none in fold {fold}: "
                f"{', '.join(train)}"
            )
        return cohort
