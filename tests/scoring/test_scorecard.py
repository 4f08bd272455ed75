import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from builders import SHAPE, affine_of, case_of
from dyntransnet.errors import DatasetError, OutputError, ParamsError
from dyntransnet.imaging.scan import Mask, write_mask
from dyntransnet.scoring.convention import Convention
from dyntransnet.scoring.records import read_cases
from dyntransnet.scoring.scorecard import run

NSD_MM = {"liver": 3.0, "tumor": 2.0}
CASES = 7


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Seven cases, predicted a voxel too far to the right; of the last no tumor anywhere."""
    for number in range(CASES):
        labels = case_of(seed=number)[1].labels
        if number == CASES - 1:
            labels = np.minimum(labels, np.uint8(1))
        write_mask(Mask(labels, affine_of()), tmp_path / "truth" / f"c{number}.nii.gz")
        moved = np.roll(labels, 1, axis=0)
        write_mask(Mask(moved, affine_of()), tmp_path / "found" / f"c{number}.nrrd")
    return tmp_path / "truth", tmp_path / "found"


def summary_of(folders, out: Path, **options) -> dict:
    run(*folders, out=out, nsd_mm=NSD_MM, **options)
    return json.loads((out / "summary.json").read_text())


def test_every_number_has_its_n_and_where_it_can_an_interval(folders, tmp_path):
    found = summary_of(folders, tmp_path / "out")
    liver, tumor = (found["scores"][name]["dice"] for name in ("liver", "tumor"))
    assert liver["low"] < liver["mean"] < liver["high"]
    assert (liver["n"], tumor["n"], tumor["undefined"]) == (7, 6, 1)
    assert found["counts"]["tumor"]["both_empty"] == 1
    assert found["lesions"]["all"]["cases"] == 7
    assert found["definitions"]["dice_tumor_case"]["n"] == 6
    assert found["intervals"] == {"draws": 10_000, "confidence": 0.95, "seed": 0}
    assert (found["convention"], found["cases"], found["nsd_mm"]) == ("project", 7, NSD_MM)


def test_cases_and_lesions_are_tables(folders, tmp_path):
    found = summary_of(folders, tmp_path / "out")
    cases = read_cases(tmp_path / "out" / "cases.csv")
    dices = [cases[f"c{number}"]["liver"]["dice"] for number in range(CASES)]
    assert np.mean(dices) == pytest.approx(found["scores"]["liver"]["dice"]["mean"], abs=1e-5)
    lesions = [*csv.DictReader((tmp_path / "out" / "lesions.csv").read_text().splitlines())]
    for name, mask in (("truth", "truth"), ("predicted", "predicted")):
        assert found["lesions"]["all"][name] == sum(row["mask"] == mask for row in lesions) > 5
    assert {row["size"] for row in lesions} <= {"below_10_mm", "10_to_20_mm", "above_20_mm"}
    assert all(bool(row["match"]) == bool(row["dice"]) for row in lesions)


def test_nothing_undefined_is_written_as_a_number(folders, tmp_path):
    summary_of(folders, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        shown = path.read_text().lower().partition("<script>")[0]
        assert not re.search(r"\bnan\b", shown)


def test_a_page_shows_the_same_numbers(folders, tmp_path):
    found = summary_of(folders, tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert "Scores of two folders of masks" in page
    assert "7 cases\nof 7 patients" in page
    dice = found["scores"]["tumor"]["dice"]
    assert f"<td>{dice['mean']:.3f}</td><td>{dice['low']:.3f} to {dice['high']:.3f}</td>" in page
    assert str(tmp_path) not in page


def test_the_table_names_tolerance_interval_and_what_is_undefined(folders, capsys):
    run(*folders, nsd_mm={"liver": 3.0, "tumor": 1.5})
    text = capsys.readouterr().out
    assert "nsd at 1.5 mm" in text
    assert "95 % interval" in text
    assert "both empty 1" in text
    assert "tumor Dice not defined\n" in text
    assert "10000 bootstrap draws over 7 patients" in text
    assert [line.split()[0] for line in text.splitlines()[:CASES]] == [
        f"c{number}" for number in range(CASES)
    ]


def test_without_an_output_nothing_is_written(folders, tmp_path):
    run(*folders, nsd_mm=NSD_MM)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found", "truth"]


def test_patients_are_the_unit_of_every_interval(folders, tmp_path):
    whose = {f"c{number}": f"p{number // 2}" for number in range(CASES)}
    (tmp_path / "splits.json").write_text(json.dumps({"patients": whose, "test": []}))
    found = summary_of(folders, tmp_path / "out", patients=tmp_path / "splits.json")
    assert found["patients"] == found["scores"]["liver"]["dice"]["n"] == 4
    assert found["scores"]["liver"]["dice"]["low"] is None
    assert found["lesions"]["all"]["intervals"]["recall"] is None
    assert found["lesions"]["all"]["cases"] == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"patients": {"c0": "a", "c1": 7}}',
            "must name the patient of every case, got none of c1",
        ),
        ('{"c0": "a"}', "with the patient of each case under patients, got KeyError"),
        ("[1]", "under patients, got TypeError"),
        ("no json", "under patients, got JSONDecodeError"),
    ],
)
def test_patients_that_cannot_be_told_are_refused(folders, tmp_path, text, message):
    (tmp_path / "who.json").write_text(text)
    with pytest.raises(ParamsError, match=f"who.json: .*{message}"):
        run(*folders, patients=tmp_path / "who.json", nsd_mm=NSD_MM)


def test_masks_without_a_truth_are_named(folders, tmp_path, capsys):
    write_mask(case_of()[1], folders[1] / "more.nii")
    found = summary_of(folders, tmp_path / "out")
    assert found["unpaired"] == ["more"]
    assert "score: not scored, there is no truth of more\n" in capsys.readouterr().out


def test_the_lits_convention_has_its_own_numbers(folders, tmp_path, capsys):
    found = summary_of(folders, tmp_path / "out", convention=Convention.LITS)
    assert (found["convention"], found["cases"]) == ("lits", 7)
    ours = summary_of(folders, tmp_path / "ours")
    liver = ours["scores"]["liver"]["dice"]["mean"]
    assert found["scores"]["liver_dice_per_case"] == pytest.approx(liver)
    tumor = ours["scores"]["tumor"]["dice"]["mean"]
    assert found["scores"]["lesion_dice_per_case"] == pytest.approx((6 * tumor + 1) / 7)
    assert "lesion_precision_greater_zero" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "cases.csv", "lesions.csv", "summary.json",
    ]  # fmt: skip


def test_the_lits_scorer_takes_no_patients(folders, tmp_path):
    (tmp_path / "who.json").write_text("{}")
    with pytest.raises(ParamsError, match="patients must not be given to the LiTS scorer"):
        run(*folders, convention=Convention.LITS, patients=tmp_path / "who.json", nsd_mm=NSD_MM)


def test_earlier_scores_are_replaced(folders, tmp_path):
    summary_of(folders, tmp_path / "out", convention=Convention.LITS)
    assert summary_of(folders, tmp_path / "out")["convention"] == "project"


def test_a_folder_with_other_files_is_never_replaced(folders, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    with pytest.raises(OutputError, match=r"must be a new folder or one of earlier scores, got ch"):
        run(*folders, out=tmp_path / "thesis", nsd_mm=NSD_MM)
    assert (tmp_path / "thesis" / "chapter.tex").exists()


def test_an_output_that_is_a_file_is_refused(folders, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="out: must be a folder, got a file"):
        run(*folders, out=tmp_path / "out", nsd_mm=NSD_MM)


@pytest.mark.parametrize("convention", list(Convention))
def test_bad_masks_leave_nothing_behind(folders, tmp_path, convention):
    write_mask(Mask(np.zeros((5, 6, 7), np.uint8), affine_of((5, 6, 7))), folders[1] / "c3.nrrd")
    with pytest.raises(DatasetError, match="c3: mask grid must equal scan grid"):
        run(*folders, out=tmp_path / "out", convention=convention, nsd_mm=NSD_MM)
    assert not (tmp_path / "out").exists()


def test_one_case_is_described_without_an_interval(tmp_path, capsys):
    empty = Mask(np.zeros(SHAPE, np.uint8), affine_of())
    write_mask(empty, tmp_path / "truth.nii")
    run(tmp_path / "truth.nii", tmp_path / "truth.nii", nsd_mm=NSD_MM)
    text = capsys.readouterr().out
    assert "none below 6" in text
    assert "both empty 1" in text
