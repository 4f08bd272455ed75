"""Choose who trains, validates and tests: by patient, never by scan.

Patients are ranked by tumor burden and dealt out in blocks, so that every part
gets its share of small and large burdens. A split that was made elsewhere is taken as it
is, or refused.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import AliasChoices, Field

from dyntransnet.atomic import new_file
from dyntransnet.config import Section, SplitParams, checked
from dyntransnet.errors import ParamsError
from dyntransnet.imaging.checks.leaks import bonds_of, check_parted


@dataclass(frozen=True)
class Patient:
    """Scans that must stay on one side of every split."""

    cases: tuple[str, ...]
    tumor_burden: float


class GivenFold(Section):
    """One fold of a split that was made elsewhere."""

    train: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = Field(validation_alias=AliasChoices("validation", "val"))


class Given(Section):
    """A split that was made elsewhere, in the form that ``run`` writes."""

    version: Literal[1] = 1
    patients: dict[str, str] = Field(default_factory=dict)
    test: tuple[str, ...] = ()
    folds: tuple[GivenFold, ...] = Field(min_length=1)


def run(manifest: Path, out: Path, params: SplitParams) -> None:
    """Split a dataset by patient.

    Args:
        manifest: what ``ingest`` wrote.
        out: JSON file to write: whose each case is, test cases, and folds of train and
            validation cases.
        params: how, or which file has the split.

    Raises:
        ParamsError: a named case is unknown, there are too few patients, or the given split
            parts what belongs together.
    """
    known = json.loads(manifest.read_text())
    owner = owners_of(known["cases"], params.same_patient)
    bonds = bonds_of(known, owner)
    joined = _joined(owner, [{bond.one, bond.other} for bond in bonds])
    patients = group_patients(known["cases"], joined)
    splits = read_split(params, known) if params.file else split_patients(patients, params)
    check_parted(splits, bonds, "split.file" if params.file else "split")
    with new_file(out) as path:
        path.write_text(json.dumps({"version": 1, "patients": joined, **splits}, indent=1))
    for bond in bonds:
        if owner[bond.one] != owner[bond.other]:
            print(f"  {bond.one} and {bond.other} stay together: {bond.why}")
    test, folds = len(splits["test"]), len(splits["folds"])
    print(f"split: {len(patients)} patients, {test} test cases, {folds} folds")


def owners_of(
    rows: Sequence[dict[str, Any]], same_patient: Sequence[Sequence[str]]
) -> dict[str, str]:
    """Case id to patient; patients that share a group become one, named after the first.

    Args:
        rows: the manifest's cases.
        same_patient: groups of case ids that are one patient although the dataset
            does not say so.

    Raises:
        ParamsError: a group names an unknown case.
    """
    owner = {row["id"]: row["patient"] for row in rows}
    for group in same_patient:
        _check_known(group, owner, "split.same_patient")
    return _joined(owner, same_patient)


def _joined(owner: Mapping[str, str], groups: Iterable[Collection[str]]) -> dict[str, str]:
    """Case id to patient, where the patients of each group of cases are one."""
    joined = dict(owner)
    for group in groups:
        merged = {joined[case] for case in group}
        joined = {case: min(merged) if name in merged else name for case, name in joined.items()}
    return joined


def group_patients(rows: Sequence[dict[str, Any]], owner: Mapping[str, str]) -> list[Patient]:
    """Gather the scans of each patient, and their burden."""
    burdens = {row["id"]: row["tumor_ml"] / max(row["liver_ml"], 1e-9) for row in rows}
    by_patient: dict[str, list[str]] = {}
    for case, name in owner.items():
        by_patient.setdefault(name, []).append(case)
    return [
        Patient(tuple(cases), max(burdens[case] for case in cases)) for cases in by_patient.values()
    ]


def split_patients(patients: Sequence[Patient], params: SplitParams) -> dict[str, Any]:
    """Deal patients to the test set and to folds.

    Returns:
        ``test``: case ids; ``folds``: for each, ``train`` and ``validation`` case ids.

    Raises:
        ParamsError: a named case is unknown, a patient is named in two folds, or too few
            patients are left for the folds.
    """
    rng = np.random.default_rng(params.seed)
    ranked = sorted(patients, key=lambda patient: (patient.tumor_burden, patient.cases))
    test = _named(ranked, params.test_cases, "split.test_cases") or _drawn_test(
        ranked, params.test_share, rng
    )
    rest = [patient for patient in ranked if patient not in test]
    named = [_named(rest, cases, "split.fold_cases") for cases in params.fold_cases]
    held_out = named or _dealt(rest, params.folds, rng)
    _check_held_out_once(held_out)
    folds = [
        {
            "train": _cases_of(patient for patient in rest if patient not in part),
            "validation": _cases_of(part),
        }
        for part in held_out
    ]
    return {"test": _cases_of(test), "folds": folds}


def read_split(params: SplitParams, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Read a split that was made elsewhere.

    Args:
        params: ``file`` is nnU-Net's splits_final.json, whose test set ``test_cases`` names,
            or what ``run`` writes.
        manifest: what ``ingest`` wrote; cases that it left out are left out here.

    Returns:
        As ``split_patients``.

    Raises:
        ParamsError: the file is not of either form, or names an unknown case.
    """
    given = _given(Path(params.file or ""))
    known = {row["id"] for row in manifest["cases"]}
    left_out = {problem["case"] for problem in manifest.get("quarantined", [])} - known
    named = {case for fold in given.folds for case in (*fold.train, *fold.validation)}
    test = given.test or params.test_cases
    _check_known([*named, *test], known | left_out, "split.file")
    for label, cases in (
        ("left out by ingest", left_out & {*named, *test}),
        ("in no part of the split", known - named - {*test}),
    ):
        if cases:
            print(f"  {label}: {', '.join(sorted(cases))}")
    folds = [
        {"train": sorted({*fold.train} & known), "validation": sorted({*fold.validation} & known)}
        for fold in given.folds
    ]
    return {"test": sorted({*test} & known), "folds": folds}


def _given(path: Path) -> Given:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise ParamsError(f"split.file: {path} must be readable, got {error.strerror}") from error
    except ValueError as error:
        raise ParamsError(f"split.file: {path} must be JSON, got {error}") from error
    return checked(Given, {"folds": values} if isinstance(values, list) else values, path)


def _named(patients: Sequence[Patient], cases: Sequence[str], key: str) -> list[Patient]:
    """Whole patients: naming one scan of a patient takes the others along."""
    _check_known(cases, {case for patient in patients for case in patient.cases}, key)
    return [patient for patient in patients if set(cases) & set(patient.cases)]


def _drawn_test(ranked: Sequence[Patient], share: float, rng: np.random.Generator) -> list[Patient]:
    """One patient from each of ``share`` x n blocks of equal burden."""
    count = round(share * len(ranked))
    blocks = np.array_split(np.arange(len(ranked)), count) if count else []
    return [ranked[int(rng.choice(block))] for block in blocks]


def _dealt(ranked: Sequence[Patient], folds: int, rng: np.random.Generator) -> list[list[Patient]]:
    """Each block of ``folds`` neighbors in burden gives one patient to each fold."""
    if len(ranked) < folds:
        raise ParamsError(
            f"split.folds: must not exceed the {len(ranked)} patients outside the test set, "
            f"got {folds}"
        )
    dealt: list[list[Patient]] = [[] for _ in range(folds)]
    for first in range(0, len(ranked), folds):
        for fold, patient in zip(
            rng.permutation(folds), ranked[first : first + folds], strict=False
        ):
            dealt[fold].append(patient)
    return dealt


def _check_held_out_once(folds: Sequence[Sequence[Patient]]) -> None:
    """Scores of all folds are put together: each patient may be in them once."""
    seen = Counter(patient for part in folds for patient in part)
    for patient, times in seen.items():
        if times > 1:
            raise ParamsError(
                "split.fold_cases: each patient must be held out once, "
                f"got {', '.join(patient.cases)} in {times} folds"
            )


def _cases_of(patients: Any) -> list[str]:
    return sorted(case for patient in patients for case in patient.cases)


def _check_known(cases: Sequence[str], known: Any, key: str) -> None:
    if unknown := sorted(set(cases) - set(known)):
        raise ParamsError(f"{key}: must name cases of the dataset, got {', '.join(unknown)}")
