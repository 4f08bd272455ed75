"""Studies whose answer is known: "full" is better than "base" in every patient, "same" is equal."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from builders import case_of
from dyntransnet.config import CompareParams
from dyntransnet.errors import InputError, ParamsError
from dyntransnet.imaging.scan import Mask, write_mask, write_scan
from dyntransnet.scoring import trial
from dyntransnet.stages import compare
from studies import NAN, NSD_MM, save_splits, save_training, training_of

CASES = [f"volume-{number}" for number in range(10)]
TABLE = {"title": "Fusion", "variants": ["base", "full", "same"], "baseline": "base"}
GAIN = {"base": 0.0, "same": 0.0, "full": 0.05}


def params_of(**table) -> CompareParams:
    return CompareParams(
        seed=7, draws=500, confidence=0.95, tables={"table_2_fusion": TABLE | table}
    )


def dices(variant: str, seed: int, cases=CASES) -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.3, 0.8, len(CASES)).round(4) + GAIN[variant]
    return {case: (0.9, float(values[CASES.index(case)])) for case in cases}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three variants, two seeds, two folds; the last two scans are one patient's."""
    patients = {case: case for case in CASES} | {CASES[9]: CASES[8]}
    save_splits(tmp_path / "splits.json", patients)
    for variant in TABLE["variants"]:
        for seed in (1, 2):
            for fold in (0, 1):
                found = dices(variant, seed, CASES[fold::2])
                save_training(tmp_path / "runs", training_of(variant, found, seed=seed, fold=fold))
    return tmp_path


def compared(place: Path, params: CompareParams | None = None, **options) -> Path:
    compare.run(
        place / "runs", splits=place / "splits.json", cases=place / "cases",
        out=place / "out", params=params or params_of(), **options,
    )  # fmt: skip
    return place / "out"


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as stream:
        return {row["variant"]: row for row in csv.DictReader(stream)}


def patient_means(variant: str) -> np.ndarray:
    """By hand: seeds first, then the two scans of the ninth patient."""
    of_case = np.mean(
        [[row[1] for row in dices(variant, seed).values()] for seed in (1, 2)], axis=0
    )
    return np.array([*of_case[:8], of_case[8:].mean()])


def test_every_row_has_the_statistics_of_its_patients(place):
    rows = rows_of(compared(place) / "table_2_fusion.csv")
    assert list(rows) == TABLE["variants"]
    for variant, row in rows.items():
        values = patient_means(variant)
        assert float(row["tumor_dice_mean"]) == pytest.approx(values.mean())
        assert float(row["tumor_dice_sd"]) == pytest.approx(values.std(ddof=1))
        assert (row["tumor_dice_n"], row["tumor_dice_seeds"]) == ("9", "2")


def test_the_better_variant_is_found_and_the_equal_one_is_not_tested(place):
    rows = rows_of(compared(place) / "table_2_fusion.csv")
    expected = stats.wilcoxon(patient_means("full"), patient_means("base")).pvalue
    assert float(rows["full"]["tumor_dice_test_p"]) == pytest.approx(expected)
    assert float(rows["full"]["tumor_dice_test_effect"]) == 1
    assert rows["same"]["tumor_dice_test_p"] == "not tested (n = 9, 0 differ)"
    assert rows["base"]["tumor_dice_test_p"] == ""


def test_lower_distances_have_a_negative_effect(place):
    rows = rows_of(compared(place) / "table_2_fusion.csv")
    assert float(rows["full"]["tumor_hd95_mm_test_effect"]) == -1


def test_scans_that_split_calls_one_patient_are_one_here(place):
    patients = {case: CASES[0] if case in CASES[:3] else case for case in CASES}
    save_splits(place / "splits.json", patients)
    rows = rows_of(compared(place) / "table_2_fusion.csv")
    assert rows["base"]["tumor_dice_n"] == "8"


def test_every_format_and_figure_is_written(place):
    out = compared(place)
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert names == {
        *(f"table_2_fusion.{suffix}" for suffix in ("csv", "md", "tex")),
        *(f"figures/table_2_fusion_learning.{suffix}" for suffix in ("png", "svg")),
        "definitions.csv", "definitions.md", "cases.csv", "study.json",
    }  # fmt: skip


def test_the_papers_numbers_stand_in_a_file_of_their_own(place):
    out = compared(place, params_of(reported={"full": "DynTransNet"}))
    beside = (out / "table_2_fusion_reported.md").read_text()
    assert "definition not stated" in beside
    assert "93.12" in beside
    assert "93.12" not in (out / "table_2_fusion.md").read_text()


def test_definitions_stand_side_by_side_for_every_variant(place):
    rows = rows_of(compared(place) / "definitions.csv")
    assert set(rows) == set(TABLE["variants"])
    expected = np.mean([row[1] for seed in (1, 2) for row in dices("full", seed).values()])
    assert float(rows["full"]["dice_tumor_case"]) == pytest.approx(expected)


def test_every_score_of_every_training_is_kept(place):
    with (compared(place) / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 2 * len(CASES) * 2
    (one,) = (
        row for row in rows
        if (row["variant"], row["seed"], row["case"], row["class"])
        == ("full", "2", "volume-9", "tumor")
    )  # fmt: skip
    assert (one["patient"], one["fold"]) == ("volume-8", "1")
    assert float(one["dice"]) == pytest.approx(dices("full", 2)["volume-9"][1])


def test_the_study_names_its_trainings_and_holds_what_the_tables_show(place):
    out = compared(place)
    study = json.loads((out / "study.json").read_text())
    assert len(study["trainings"]) == 12
    assert study["trainings"][0]["training"]["parameters"] == 9_100_000
    assert study["trainings"][0]["scored"]["nsd_mm"] == NSD_MM
    shown = study["tables"]["table_2_fusion"]["full"]["tumor"]["dice"]
    row = rows_of(out / "table_2_fusion.csv")["full"]
    assert shown["mean"] == pytest.approx(float(row["tumor_dice_mean"]))
    assert shown["against"]["p_holm"] == pytest.approx(float(row["tumor_dice_test_p_holm"]))


def test_the_same_study_gives_the_same_files(place):
    first = compared(place).rename(place / "first")
    second = compared(place)
    for path in (path for path in first.rglob("*") if path.is_file()):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_all_variants_without_trainings_are_named_together(place):
    params = params_of(variants=["base", "wsum", "full", "concat"])
    with pytest.raises(InputError, match=r"every variant of the tables, got none of concat, wsum$"):
        compared(place, params)
    assert not (place / "out").exists()


def test_a_training_on_other_cases_is_refused_by_name(place):
    shutil.rmtree(place / "runs/full-seed2-fold1")
    odd = dices("full", 2, CASES[1:7:2])
    save_training(place / "runs", training_of("full", odd, seed=2, fold=1))
    with pytest.raises(ParamsError, match=r"same cases, got full-seed2-fold1 \(other cases"):
        compared(place)


def test_cases_that_were_not_split_are_named(place):
    save_splits(place / "splits.json", {case: case for case in CASES[2:]})
    with pytest.raises(ParamsError, match="those that were split, got volume-0, volume-1"):
        compared(place)


def test_a_row_that_the_paper_does_not_have_is_refused(place):
    with pytest.raises(ParamsError, match=r"rows of the paper .*SegResNet.*, got nnU-Net"):
        compared(place, params_of(reported={"full": "nnU-Net"}))


def test_a_study_without_tumors_says_so(tmp_path):
    save_splits(tmp_path / "splits.json", {case: case for case in CASES})
    for variant in TABLE["variants"]:
        healthy = {case: (liver, NAN) for case, (liver, _) in dices(variant, 1).items()}
        save_training(tmp_path / "runs", training_of(variant, healthy))
    out = compared(tmp_path)
    assert "not defined (n = 0)" in (out / "table_2_fusion.md").read_text()
    row = rows_of(out / "table_2_fusion.csv")["full"]
    assert (row["tumor_dice_mean"], row["tumor_dice_n"]) == ("", "0")
    assert row["tumor_dice_test_p_holm"] == "not tested (n = 0)"


def test_few_patients_are_described_but_not_tested(tmp_path):
    save_splits(tmp_path / "splits.json", {case: case for case in CASES})
    for variant in TABLE["variants"]:
        save_training(tmp_path / "runs", training_of(variant, dices(variant, 1, CASES[:5])))
    row = rows_of(compared(tmp_path) / "table_2_fusion.csv")["full"]
    assert float(row["tumor_dice_mean"]) > 0
    assert (row["tumor_dice_low"], row["tumor_dice_high"]) == ("", "")
    assert row["tumor_dice_test_p"] == row["tumor_dice_test_p_t"] == "not tested (n = 5)"


def keep_masks(place: Path) -> None:
    """Every case's scan and truth; every training's masks, a little off."""
    for seed, case in enumerate(CASES):
        scan, truth = case_of(seed=seed)
        write_scan(scan, place / "cases" / case / trial.SCAN_FILE)
        write_mask(truth, place / "cases" / case / trial.MASK_FILE)
        moved = Mask(np.roll(truth.labels, 1, axis=0), truth.affine)
        for run in (place / "runs").iterdir():
            if case in (run / "scores/cases.csv").read_text():
                write_mask(moved, run / "masks" / f"{case}.nii.gz")


def test_one_case_is_drawn_under_all_variants_where_masks_were_kept(place):
    keep_masks(place)
    out = compared(place)
    svg = (out / "figures/table_2_fusion_masks.svg").read_text()
    means = {case: np.mean([dices("base", s)[case][1] for s in (1, 2)]) for case in CASES}
    median = sorted(CASES, key=means.__getitem__)[4]
    assert f"<!-- {median}, where base has its median Dice -->" in svg
    assert all(f"<!-- {variant}, seed 1 -->" in svg for variant in TABLE["variants"])
    assert (out / "figures/table_2_fusion_masks.png").stat().st_size > 10_000


def test_missing_masks_are_named_and_no_reason_to_stop(place, capsys):
    keep_masks(place)
    for seed in (1, 2):
        for fold in (0, 1):
            shutil.rmtree(place / f"runs/full-seed{seed}-fold{fold}/masks")
    out = compared(place)
    assert "table_2_fusion_masks is not drawn, there is no" in capsys.readouterr().out
    assert not list((out / "figures").glob("*masks*"))


def test_the_line_it_prints_counts_patients_not_scans(place, capsys):
    compared(place)
    line = "compare: table_2_fusion  3 variants, 12 trainings, 2 seeds, 9 patients"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"baseline": "none"}, "baseline and reported must be variants, not none"),
        ({"reported": {"lost": "VNet"}}, "must be variants, not lost"),
        ({"variants": ["base", "full", "full"]}, "variants must differ"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(change, match):
    with pytest.raises(ValidationError, match=match):
        params_of(**change)
