import json
from collections import Counter
from pathlib import Path

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
        "file": None, "seed": 7, "folds": 4, "fold_cases": (),
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


def save(folder, rows: list[dict], **more) -> Path:
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "cases": rows, **more}))
    return folder / "manifest.json"


def given_split(folder, values: object, rows: list[dict], *, more=None, **changes) -> dict:
    """What run makes of a split that was made elsewhere."""
    (folder / "given.json").write_text(json.dumps(values))
    params = params_of(file=folder / "given.json", **changes)
    run(save(folder, rows, **(more or {})), folder / "splits.json", params)
    return json.loads((folder / "splits.json").read_text())


def names(*numbers: int) -> list[str]:
    return [f"volume-{number}" for number in numbers]


def test_equal_and_almost_equal_scans_stay_together_whoever_they_are_said_to_be(tmp_path, capsys):
    rows = [each | {"voxels_sha256": str(n % 11)} for n, each in enumerate(one_each(12))]
    alike = [{"cases": ["volume-2", "volume-7"], "correlation": 0.96}]
    for seed in range(10):
        params = params_of(folds=3, seed=seed)
        run(save(tmp_path, rows, alike=alike), tmp_path / "splits.json", params)
        found = json.loads((tmp_path / "splits.json").read_text())
        parts = [found["test"], *(fold["validation"] for fold in found["folds"])]
        for pair in ({"volume-0", "volume-11"}, {"volume-2", "volume-7"}):
            assert [len(pair & {*part}) for part in parts].count(2) == 1
    assert found["patients"]["volume-11"] == "p0"
    assert found["patients"]["volume-7"] == "p2"
    *shown, last = capsys.readouterr().out.splitlines()[-3:]
    assert shown == [
        "  volume-0 and volume-11 stay together: equal voxels",
        "  volume-2 and volume-7 stay together: correlation 0.96",
    ]
    assert last.startswith("split: 10 patients, ")


def test_a_split_of_nnunet_is_taken_as_it_is(tmp_path):
    values = [
        {"train": names(0, 1, 2, 3), "val": names(4, 5)},
        {"train": names(2, 3, 4, 5), "val": names(0, 1)},
    ]
    found = given_split(tmp_path, values, one_each(7), test_cases=("volume-6",))
    assert found["test"] == ["volume-6"]
    assert found["folds"] == [
        {"train": each["train"], "validation": each["val"]} for each in values
    ]


def test_a_split_of_ours_is_taken_as_it_is(tmp_path):
    rows = one_each(10)
    run(save(tmp_path, rows), tmp_path / "first.json", params_of())
    first = json.loads((tmp_path / "first.json").read_text())
    assert given_split(tmp_path, first, rows, seed=99, folds=2) == first


def test_cases_of_no_part_and_cases_left_out_by_ingest_are_named(tmp_path, capsys):
    values = [{"train": names(0, 1, 9), "val": names(2)}]
    more = {"quarantined": [{"case": "volume-9", "code": "mask-empty"}]}
    found = given_split(tmp_path, values, one_each(5), more=more)
    assert found["folds"] == [{"train": names(0, 1), "validation": names(2)}]
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == [
        "  left out by ingest: volume-9",
        "  in no part of the split: volume-3, volume-4",
    ]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([{"train": names(0, 1), "val": names(2, 99)}], "must name cases .*, got volume-99$"),
        ([{"train": names(0, 1), "val": names(1)}], "volume-1 must be on one side, got train of"),
        ([{"train": names(0, 5), "val": names(1)}], "patient-in-two-groups: volume-1 and volume-5"),
        (
            [{"train": names(2), "val": names(3)}],
            r"near-duplicate-in-two-groups: volume-2 and .*-3",
        ),
        ([{"train": names(0), "val": names(4)}], "scan-in-two-groups: volume-0 and volume-4"),
        (
            [{"train": names(0), "val": names(2)}, {"train": names(0), "val": names(2)}],
            "volume-2 must be held out once, got 2 folds$",
        ),
    ],
)
def test_a_given_split_that_leaks_is_refused_and_nothing_is_written(tmp_path, values, rule):
    rows = [each | {"voxels_sha256": str(n % 4)} for n, each in enumerate(one_each(5))]
    rows.append(row(5, "p1", 0.0))
    more = {"alike": [{"cases": names(2, 3), "correlation": 0.98}]}
    with pytest.raises(ParamsError, match=f"^split.file: .*{rule}"):
        given_split(tmp_path, values, rows, more=more)
    assert not (tmp_path / "splits.json").exists()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", r"^split\.file: .*given\.json must be JSON, got "),
        ("[]", r"given\.json: folds: tuple should have at least 1 item"),
        ('[{"train": ["a"]}]', r"given\.json: folds\.0\.(val|validation): must be given"),
        ('[{"train": [], "val": []}]', r"given\.json: folds\.0\.train: tuple should have at least"),
        ('[{"train": ["a"], "val": [], "test": []}]', r"folds\.0\.test: is not a known key"),
        ("7", r"given\.json: the file: input should be"),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path, text, rule):
    (tmp_path / "given.json").write_text(text)
    with pytest.raises(ParamsError, match=rule):
        run(
            save(tmp_path, one_each(4)),
            tmp_path / "splits.json",
            params_of(file=tmp_path / "given.json"),
        )


def test_a_split_that_is_not_there_is_named(tmp_path):
    with pytest.raises(
        ParamsError, match=r"^split\.file: .*gone\.json must be readable, got No such"
    ):
        run(
            save(tmp_path, one_each(4)),
            tmp_path / "splits.json",
            params_of(file=tmp_path / "gone.json"),
        )
