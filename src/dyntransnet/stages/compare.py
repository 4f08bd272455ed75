"""Turn many scored trainings into tables and figures that say how far they can be trusted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from dyntransnet.atomic import new_folder
from dyntransnet.config import CompareParams, TableParams
from dyntransnet.errors import InputError, ParamsError
from dyntransnet.imaging.scan import read_mask, read_scan
from dyntransnet.scoring.overlap import CLASSES
from dyntransnet.scoring.records import COLUMNS
from dyntransnet.scoring.statistics import Resampling
from dyntransnet.scoring.study.comparison import Cells, compare_variants, define_dice, median_case
from dyntransnet.scoring.study.curves import draw_learning_of
from dyntransnet.scoring.study.gallery import draw_side_by_side
from dyntransnet.scoring.study.rendering import (
    Definitions,
    definitions_csv,
    definitions_table,
    reported_table,
    study_csv,
    study_tables,
)
from dyntransnet.scoring.study.reported import REPORTED
from dyntransnet.scoring.study.tables import to_csv, to_latex, to_markdown
from dyntransnet.scoring.study.trainings import Training, check_same_cases, read_trainings
from dyntransnet.scoring.trial import MASK_FILE, SCAN_FILE

MASKS = "masks"


def run(
    runs: Path,
    *,
    splits: Path,
    cases: Path,
    out: Path,
    params: CompareParams,
) -> None:
    """Compare the variants of a study, patient by patient.

    Args:
        runs: folder of trainings, laid out as ``scoring.study.trainings`` says.
        splits: what ``split`` wrote; it says whose each case is.
        cases: what ``ingest`` wrote; one case is drawn.
        out: folder to write: for each table CSV, Markdown and LaTeX, its learning curves
            and one case under all its variants; definitions, cases.csv, study.json.
        params: the tables, and how intervals are drawn.

    Raises:
        InputError: a training is not complete, or a table names a variant without any.
        ParamsError: trainings were scored on different cases, a case is not in the
            splits, or the paper has no row of a name in ``reported``.
    """
    trainings = read_trainings(runs)
    check_same_cases(trainings)
    _check_tables(params, trainings, runs)
    patient_of = json.loads(splits.read_text())["patients"]
    _check_known(trainings, patient_of)
    how = Resampling(params.draws, params.confidence, params.seed)
    nsd_mm = trainings[0].test_set.get("nsd_mm", {}) if trainings else {}
    with new_folder(out) as folder:
        (folder / "figures").mkdir()
        tables = {}
        for key, table in params.tables.items():
            tables[key] = compare_variants(
                trainings, table.variants, table.baseline, patient_of, how
            )
            _write_table(
                folder, key, table, tables[key], confidence=params.confidence, nsd_mm=nsd_mm
            )
            draw_learning_of(_by_variant(trainings, table), folder / "figures" / f"{key}_learning")
            stem = folder / "figures" / f"{key}_masks"
            _draw_masks(stem, table, trainings, runs=runs, cases=cases)
            print(_line(key, trainings, table, patient_of))
        defined = {name: define_dice(trainings, name) for name in _variants(trainings)}
        _write_definitions(folder, defined)
        _write_cases(folder / "cases.csv", trainings, patient_of)
        _write_study(folder / "study.json", params, trainings, tables, defined)


def _by_variant(trainings: Sequence[Training], table: TableParams) -> dict[str, list[Training]]:
    return {name: [run for run in trainings if run.variant == name] for name in table.variants}


def _variants(trainings: Sequence[Training]) -> list[str]:
    return sorted({run.variant for run in trainings})


def _check_tables(params: CompareParams, trainings: Sequence[Training], runs: Path) -> None:
    """Every row has trainings, and every row of the paper that is asked for exists."""
    wanted = {variant for table in params.tables.values() for variant in table.variants}
    if missing := sorted(wanted - set(_variants(trainings))):
        raise InputError(
            f"{runs}: must hold trainings of every variant of the tables, "
            f"got none of {', '.join(missing)}"
        )
    known = {row.row for row in REPORTED}
    names = {name for table in params.tables.values() for name in table.reported.values()}
    if unknown := sorted(names - known):
        raise ParamsError(
            f"compare.tables: reported must name rows of the paper ({', '.join(sorted(known))}), "
            f"got {', '.join(unknown)}"
        )


def _check_known(trainings: Sequence[Training], patient_of: Mapping[str, str]) -> None:
    scored = {case for run in trainings for case in run.scores}
    if unknown := sorted(scored - set(patient_of)):
        raise ParamsError(f"compare: cases must be those that were split, got {', '.join(unknown)}")


def _line(
    key: str, trainings: Sequence[Training], table: TableParams, patient_of: Mapping[str, str]
) -> str:
    used = [run for run in trainings if run.variant in table.variants]
    seen = {patient_of[case] for run in used for case in run.scores}
    seeds = {run.seed for run in used}
    return (
        f"compare: {key}  {len(table.variants)} variants, {len(used)} trainings, "
        f"{len(seeds)} seeds, {len(seen)} patients"
    )


def _write_table(
    folder: Path,
    key: str,
    table: TableParams,
    rows: Mapping[str, Cells],
    *,
    confidence: float,
    nsd_mm: Mapping[str, float],
) -> None:
    parts = study_tables(table.title, rows, table.baseline, confidence=confidence, nsd_mm=nsd_mm)
    _write(folder / f"{key}.csv", to_csv(*study_csv(rows)))
    _write(folder / f"{key}.md", to_markdown(parts))
    _write(folder / f"{key}.tex", to_latex(parts))
    if table.reported:
        beside = reported_table(table.reported)
        _write(folder / f"{key}_reported.csv", to_csv(beside.head, beside.rows))
        _write(folder / f"{key}_reported.md", to_markdown([beside]))
        _write(folder / f"{key}_reported.tex", to_latex([beside]))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _draw_masks(
    stem: Path, table: TableParams, trainings: Sequence[Training], *, runs: Path, cases: Path
) -> None:
    """Draw one case under each variant's first training that was scored on it."""
    case = median_case([run for run in trainings if run.variant == table.baseline])
    shown = [_first_on(case, trainings, variant) for variant in table.variants]
    masks = [runs / run.name / MASKS / f"{case}.nii.gz" for run in shown]
    if absent := [str(path) for path in masks if not path.is_file()]:
        print(f"compare: {stem.name} is not drawn, there is no {', '.join(absent)}")
        return
    draw_side_by_side(
        read_scan(cases / case / SCAN_FILE),
        read_mask(cases / case / MASK_FILE),
        {_heading(run, case): read_mask(path) for run, path in zip(shown, masks, strict=True)},
        stem,
        title=f"{case}, where {table.baseline} has its median Dice",
    )


def _first_on(case: str, trainings: Sequence[Training], variant: str) -> Training:
    found = [run for run in trainings if run.variant == variant and case in run.scores]
    return min(found, key=lambda run: (run.seed, run.fold))


def _heading(run: Training, case: str) -> str:
    dices = (f"{name} {run.scores[case][name]['dice']:.2f}" for name in CLASSES)
    return f"{run.variant}, seed {run.seed}\n{', '.join(dices)}"


def _write_definitions(folder: Path, defined: Definitions) -> None:
    _write(folder / "definitions.csv", to_csv(*definitions_csv(defined)))
    _write(folder / "definitions.md", to_markdown([definitions_table(defined)]))


def _write_cases(path: Path, trainings: Sequence[Training], patient_of: Mapping[str, str]) -> None:
    """Every score of every training, one row per case and class."""
    head = ["variant", "seed", "fold", "case", "patient", "class", *COLUMNS]
    rows = [
        [run.variant, run.seed, run.fold, case, patient_of[case], name]
        + [None if row[column] != row[column] else row[column] for column in COLUMNS]
        for run in trainings
        for case, by_class in run.scores.items()
        for name, row in by_class.items()
    ]
    _write(path, to_csv(head, rows))


def _write_study(
    path: Path,
    params: CompareParams,
    trainings: Sequence[Training],
    tables: Mapping[str, Mapping[str, Cells]],
    defined: Definitions,
) -> None:
    """All that the tables show, and which trainings stand behind it."""
    study = {
        "params": params.model_dump(),
        "trainings": [
            {
                "name": run.name,
                "scored": {**run.test_set, "cases": sorted(run.scores)},
                "training": {**run.facts},
            }
            for run in trainings
        ],
        "tables": {
            key: {
                variant: {
                    name: {score: asdict(cell) for score, cell in row.items()}
                    for name, row in cells.items()
                }
                for variant, cells in rows.items()
            }
            for key, rows in tables.items()
        },
        "definitions": {
            variant: {
                name: {"mean": mean, "seed_sd": spread} for name, (mean, spread) in values.items()
            }
            for variant, values in defined.items()
        },
    }
    _write(path, json.dumps(study, indent=1) + "\n")
