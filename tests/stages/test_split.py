import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyntransnet.config import SplitParams
from dyntransnet.errors import ParamsError
from dyntransnet.stages.split import Patient, group_patients, owners_of, run, split_patients

ROWS = st.lists(st.tuples(st.integers(0, 14), st.floats(0, 200)), min_size=12, max_size=40).map(
    # The first six are six patients; later scans are theirs or others'.
    lambda drawn: [row(n, f"p{n if n < 6 else who}", ml) for n, (who, ml) in enumerate(drawn)]
)


def row(number: int, patient: str, tumor_ml: float) -> dict:
    return {
        "id": f"volume-{number}", "patient": patient, "liver_ml": 1500.0, "tumor_ml": tumor_ml,
    }  # fmt: skip


def one_each(count: int) -> list[dict]:
    """Patients with one scan, in order of burden."""
    return [row(n, f"p{n}", 10.0 * n) for n in range(count)]


def params_of(**changes) -> SplitParams:
    values = {
        "seed": 7, "folds": 4, "fold_cases": (),
        "test_share": 0.2, "test_cases": (), "same_patient": (),
    }  # fmt: skip
    return SplitParams(**values | changes)


def split(rows: list[dict], **changes) -> dict:
    params = params_of(**changes)
    return split_patients(patients_of(rows, params.same_patient), params)


def patients_of(rows: list[dict], same_patient=()) -> list[Patient]:
    return group_patients(rows, owners_of(rows, same_patient))


@given(rows=ROWS, seed=st.integers(0, 1000))
def test_no_patient_stands_on_two_sides(rows, seed):
    patient = {row["id"]: row["patient"] for row in rows}
    result = split(rows, folds=2, seed=seed)
    for fold in result["folds"]:
        sides = [{patient[case] for case in fold[name]} for name in ("train", "validation")]
        sides.append({patient[case] for case in result["test"]})
        assert sum(map(len, sides)) == len(set.union(*sides)) == len(set(patient.values()))


@given(rows=ROWS)
def test_every_case_outside_the_test_set_validates_once(rows):
    result = split(rows, folds=2, test_share=0.0)
    validated = Counter(case for fold in result["folds"] for case in fold["validation"])
    assert validated == Counter(row["id"] for row in rows if row["id"] not in result["test"])


@given(rows=ROWS)
def test_train_and_validation_are_all_but_the_test_set(rows):
    result = split(rows, folds=2, test_share=0.1)
    for fold in result["folds"]:
        together = sorted(result["test"] + fold["train"] + fold["validation"])
        assert together == sorted(row["id"] for row in rows)


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(20, 0.2, 4), (10, 0.25, 2), (30, 0.0, 0), (11, 0.5, 6)]
)
def test_the_test_set_has_its_share_of_patients(count, share, expected):
    assert len(split(one_each(count), test_share=share)["test"]) == expected


@pytest.mark.parametrize("seed", range(5))
def test_each_fold_holds_one_patient_of_each_block_of_burden(seed):
    result = split(one_each(20), test_share=0.0, seed=seed)
    for fold in result["folds"]:
        numbers = [int(case.removeprefix("volume-")) for case in fold["validation"]]
        assert sorted(number // 4 for number in numbers) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(5))
def test_the_test_set_spans_small_and_large_burdens(seed):
    test = split(one_each(20), seed=seed)["test"]
    numbers = sorted(int(case.removeprefix("volume-")) for case in test)
    assert [number // 5 for number in numbers] == [0, 1, 2, 3]


def test_the_same_seed_gives_the_same_split():
    assert split(one_each(20)) == split(list(reversed(one_each(20))))
    assert split(one_each(20)) != split(one_each(20), seed=8)


def test_a_named_test_case_brings_its_patients_other_scans():
    rows = [*one_each(8), row(8, "p3", 0.0), row(9, "p3", 5.0)]
    result = split(rows, test_cases=("volume-9", "volume-1"))
    assert sorted(result["test"]) == ["volume-1", "volume-3", "volume-8", "volume-9"]


def test_named_folds_hold_out_what_they_name_and_train_on_the_rest():
    rows = [*one_each(6), row(6, "p1", 0.0)]
    folds = split(rows, test_share=0.0, fold_cases=(("volume-2",), ("volume-0", "volume-1")))[
        "folds"
    ]
    assert [fold["validation"] for fold in folds] == [
        ["volume-2"],
        ["volume-0", "volume-1", "volume-6"],
    ]
    for fold in folds:
        assert sorted(fold["train"] + fold["validation"]) == sorted(row["id"] for row in rows)


def test_a_patient_in_two_named_folds_is_refused():
    rows = [*one_each(6), row(6, "p1", 0.0)]
    rule = "each patient must be held out once, got volume-1, volume-6 in 2 folds$"
    with pytest.raises(ParamsError, match=rf"^split\.fold_cases: {rule}"):
        split(rows, test_share=0.0, fold_cases=(("volume-1",), ("volume-6",)))


def test_a_named_fold_cannot_hold_out_a_test_case():
    with pytest.raises(ParamsError, match=r"^split\.fold_cases: must name cases .*, got volume-1$"):
        split(one_each(6), test_cases=("volume-1",), fold_cases=(("volume-1",), ("volume-2",)))


def test_a_patients_burden_is_that_of_the_worst_scan():
    rows = [row(0, "anna", 15.0), row(1, "anna", 300.0), row(2, "bert", 30.0)]
    anna, bert = patients_of(rows)
    assert anna == Patient(("volume-0", "volume-1"), 0.2)
    assert bert == Patient(("volume-2",), 0.02)


def test_same_patient_joins_and_joins_again():
    groups = (("volume-0", "volume-3"), ("volume-3", "volume-5"))
    patients = patients_of(one_each(7), groups)
    assert {"volume-0", "volume-3", "volume-5"} in [set(patient.cases) for patient in patients]
    assert len(patients) == 5


def test_same_patient_joins_all_scans_of_both():
    rows = [*one_each(4), row(4, "p0", 0.0), row(5, "p3", 0.0)]
    patients = patients_of(rows, (("volume-0", "volume-3"),))
    assert {"volume-0", "volume-3", "volume-4", "volume-5"} in [set(p.cases) for p in patients]


def test_a_scan_without_liver_has_no_burden():
    healthy = row(0, "p0", 0.0) | {"liver_ml": 0.0}
    assert patients_of([healthy])[0].tumor_burden == 0


@pytest.mark.parametrize("key", ["test_cases", "same_patient"])
def test_unknown_cases_are_named_with_their_key(key):
    value = ("volume-1", "volume-99")
    with pytest.raises(ParamsError, match=rf"^split\.{key}: must name cases .*, got volume-99$"):
        split(one_each(8), **{key: value if key == "test_cases" else (value,)})


def test_too_few_patients_are_refused():
    rows = [row(n, f"p{n % 3}", 0.0) for n in range(30)]
    with pytest.raises(
        ParamsError, match=r"^split\.folds: must not exceed the 2 patients .* got 4"
    ):
        split(rows, test_share=0.3)


def test_run_writes_what_split_patients_gives(tmp_path, capsys):
    (tmp_path / "manifest.json").write_text(json.dumps({"version": 1, "cases": one_each(10)}))
    run(tmp_path / "manifest.json", tmp_path / "splits.json", params_of())
    assert json.loads((tmp_path / "splits.json").read_text()) == {
        "version": 1,
        "patients": {f"volume-{number}": f"p{number}" for number in range(10)},
        **split(one_each(10)),
    }
    assert capsys.readouterr().out == "split: 10 patients, 2 test cases, 4 folds\n"
