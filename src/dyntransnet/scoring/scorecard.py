"""Score two folders of masks, and say the result in a table and in files."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dyntransnet.atomic import new_folder
from dyntransnet.errors import OutputError, ParamsError
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.convention import Convention
from dyntransnet.scoring.folders import Pairs, pair_masks, score_pairs
from dyntransnet.scoring.lits_scorer import LitsCase, score_lits_case, summarize_lits, write_lits
from dyntransnet.scoring.metrics import ScoredCase, score_with_lesions
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.records import read_patients
from dyntransnet.scoring.report.contents import Contents
from dyntransnet.scoring.results import CASES, FILES, LESIONS, SUMMARY, write_results
from dyntransnet.scoring.scoretext import dice_text, lits_text, summary_text
from dyntransnet.scoring.summary import summarize_cases

Write = Callable[[Mapping[str, Any], Path], None]
"""Puts facts and what was scored into a folder."""


def run(
    truth: Path,
    predicted: Path,
    *,
    out: Path | None = None,
    convention: Convention = Convention.PROJECT,
    patients: Path | None = None,
    nsd_mm: Mapping[str, float],
) -> None:
    """Score every mask of one folder against the mask of its name in another.

    Args:
        truth: folder of reference masks, or one mask.
        predicted: folder of masks under test, or one mask.
        out: folder to write cases.csv, lesions.csv and summary.json to, and by the
            project's rules report.html; None writes nothing.
        convention: by whose rules.
        patients: JSON file whose ``patients`` names the patient of each case, as that
            of ``split``; None takes each case for a patient of its own.
        nsd_mm: per class the tolerance of the surface Dice.

    Raises:
        DatasetError: masks are missing, damaged or lie on other grids; all are listed.
        ScanError: a folder is missing.
        OutputError: the output cannot be written, or would replace other files.
        ParamsError: a case has no patient, or the LiTS scorer is asked for patients.
    """
    _check_out(out)
    pairs = pair_masks(truth, predicted)
    patient_of = _patients(patients, pairs, convention)
    if pairs.unpaired:
        print(f"score: not scored, there is no truth of {', '.join(pairs.unpaired)}")
    facts: dict[str, Any] = {
        "convention": convention.value,
        "cases": len(pairs.files),
        "unpaired": pairs.unpaired,
    }
    if convention is Convention.LITS:
        write = _by_lits(pairs)
    else:
        write = _by_project(pairs, patient_of, dict(nsd_mm))
    if out:
        with new_folder(out) as folder:
            write(facts, folder)


def _by_project(
    pairs: Pairs, patient_of: Mapping[str, str] | None, nsd_mm: Mapping[str, float]
) -> Write:
    """Score, say the result, and give what writes it."""

    def score(case: str, truth: Mask, predicted: Mask) -> ScoredCase:
        found = score_with_lesions(truth, predicted, nsd_mm)
        shown = (f"{name} Dice {dice_text(found.rows[name]['dice'])}" for name in CLASSES)
        print(case, *shown, sep="  ", flush=True)
        return found

    cases = score_pairs(pairs, score)
    contents = Contents(cases, summarize_cases(cases, patient_of), nsd_mm)
    print("\n" + summary_text(contents.summary, nsd_mm), end="")
    return lambda facts, folder: write_results(contents, facts, folder)


def _by_lits(pairs: Pairs) -> Write:
    """The same by the rules of the LiTS scorer."""

    def score(case: str, truth: Mask, predicted: Mask) -> LitsCase:
        found = score_lits_case(case, truth, predicted)
        shown = f"liver Dice {found.liver_dice:.4f}  lesion Dice {found.lesion_dice:.4f}"
        print(case, shown, sep="  ", flush=True)
        return found

    def write(facts: Mapping[str, Any], folder: Path) -> None:
        write_lits(cases, folder / CASES, folder / LESIONS)
        (folder / SUMMARY).write_text(json.dumps({**facts, "scores": scores}, indent=1) + "\n")

    cases = score_pairs(pairs, score)
    scores = summarize_lits([*cases.values()])
    print("\n" + lits_text(scores, len(cases)), end="")
    return write


def _check_out(out: Path | None) -> None:
    """Only results of this command are ever replaced."""
    if out is None or not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out}: must be a folder, got a file")
    if others := sorted({path.name for path in out.iterdir()} - {*FILES}):
        raise OutputError(
            f"{out}: must be a new folder or one of earlier scores, got {', '.join(others[:5])}"
        )


def _patients(file: Path | None, pairs: Pairs, convention: Convention) -> dict[str, str] | None:
    if file is None:
        return None
    if convention is Convention.LITS:
        raise ParamsError(
            "score: patients must not be given to the LiTS scorer, it has no intervals"
        )
    return read_patients(file, pairs.files)
