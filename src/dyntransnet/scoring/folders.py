"""Two folders of masks, from any tool: paired by name, checked and scored one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.checks.grids import check_pair, check_scan
from dyntransnet.imaging.folders import images_in, named_twice
from dyntransnet.imaging.scan import READABLE, Mask, Scan, case_id_of, read_mask

Score = TypeVar("Score")


@dataclass(frozen=True)
class Pairs:
    """Masks of the same cases in two folders.

    Attributes:
        predicted: where the predictions lie.
        files: case id to the files of its truth and its prediction.
        unpaired: predicted cases without a truth; nothing can be said of them.
    """

    predicted: Path
    files: dict[str, tuple[Path, Path]]
    unpaired: tuple[str, ...]


def pair_masks(truth: Path, predicted: Path) -> Pairs:
    """Find the prediction of each reference mask: the file of its name, in any format.

    Args:
        truth: folder of reference masks, or one mask.
        predicted: folder of masks under test; where the truth is one mask, maybe one too.

    Raises:
        DatasetError: predictions are missing, or a name stands twice; all are listed.
        ScanError: a folder is missing.
    """
    known, found = images_in(truth), images_in(predicted)
    if truth.is_file() and predicted.is_file():
        return Pairs(predicted, {case_id_of(truth): (truth, predicted)}, ())
    problems = [
        f"{case}: must stand once in {truth}, got more masks" for case in named_twice(known)
    ]
    files_of = {case_id_of(file): file for file in found}
    cases = {case_id_of(file): file for file in known}
    problems += [
        f"{case}: must stand once in {predicted}, got more masks"
        for case in named_twice(found)
        if case in cases
    ]
    problems += [
        f"{case}: must have a mask in {predicted}, got none"
        for case in cases
        if case not in files_of
    ]
    if not known:
        problems = [f"{truth}: must hold masks ({', '.join(READABLE)}), got none"]
    if problems:
        raise DatasetError(predicted, problems)
    files = {case: (file, files_of[case]) for case, file in cases.items()}
    return Pairs(predicted, files, tuple(case for case in files_of if case not in cases))


def score_pairs(pairs: Pairs, score: Callable[[str, Mask, Mask], Score]) -> dict[str, Score]:
    """Score case after case.

    Args:
        pairs: the files.
        score: called with a case's id, truth and prediction.

    Raises:
        DatasetError: masks are damaged, lie on other grids or cannot be scored; all are
            listed.
    """
    scores, problems = {}, []
    for case, (truth, predicted) in pairs.files.items():
        try:
            scores[case] = score(case, *_read_pair(case, truth, predicted))
        except ScanError as error:
            problems.append(str(error))
    if problems:
        raise DatasetError(pairs.predicted, problems)
    return scores


def _read_pair(case: str, truth: Path, predicted: Path) -> tuple[Mask, Mask]:
    known, found = read_mask(truth), read_mask(predicted)
    grid = Scan(case, np.broadcast_to(np.int16(0), known.labels.shape), known.affine)
    check_scan(grid)
    check_pair(grid, found)
    return known, found
