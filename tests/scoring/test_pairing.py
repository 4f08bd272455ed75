from dataclasses import replace

import pytest

from dyntransnet.errors import InputError
from dyntransnet.scoring.pairing import (
    Evaluation,
    Pair,
    check_comparable,
    pair,
    read_evaluation,
)
from gates import NAN, evaluation, save, tumors

ONE = evaluation({"a": (0.9, 0.5), "b": (0.8, 0.6)})


def changed(found: Evaluation, case: str, name: str, **values: float) -> Evaluation:
    """The same evaluation but for one row."""
    rows = {**found.scores[case], name: {**found.scores[case][name], **values}}
    return replace(found, scores={**found.scores, case: rows})


def refusal(baseline: Evaluation, candidate: Evaluation) -> str:
    with pytest.raises(InputError) as caught:
        check_comparable(baseline, candidate)
    (line,) = str(caught.value).splitlines()
    return line


def test_what_was_written_is_compared(tmp_path):
    found = read_evaluation(save(tmp_path / "one", replace(ONE, test_set="f" * 64)))
    check_comparable(ONE, found)
    assert found.test_set == "f" * 64
    assert pair(ONE, found, "tumor").compared == (Pair("a", 0.5, 0.5), Pair("b", 0.6, 0.6))


def test_a_table_alone_will_do(tmp_path):
    folder = save(tmp_path, ONE)
    assert read_evaluation(folder / "cases.csv").scores == read_evaluation(folder).scores


def test_cases_are_paired_by_name_and_not_by_place():
    turned = evaluation({"b": (0.8, 0.6), "a": (0.9, 0.5)})
    assert all(one.difference == 0 for one in pair(ONE, turned, "liver").compared)


def test_every_case_that_one_side_lacks_is_named():
    other = evaluation({"b": (0.8, 0.6), "c": (0.8, 0.6)})
    assert refusal(ONE, other) == (
        "gate: both must have scored the same cases, got a in the baseline only; "
        "both must have scored the same cases, got c in the candidate only"
    )


@pytest.mark.parametrize("values", [{"truth_voxels": 501}, {"truth_ml": 2.4}])
def test_another_truth_is_named(values):
    assert refusal(ONE, changed(ONE, "b", "tumor", **values)).startswith(
        "gate: b: the truth of tumor must be one, got 500 voxels (2 ml) and "
    )


def test_another_test_set_is_refused_though_names_and_volumes_agree():
    one, other = (replace(ONE, test_set=letter * 64) for letter in "ab")
    rule = f"gate: both must have scored one test set, got {'a' * 12} and {'b' * 12}"
    assert refusal(one, other) == rule


def test_a_test_set_that_nobody_noted_is_judged_by_its_cases():
    check_comparable(ONE, replace(ONE, test_set="a" * 64))


@pytest.mark.parametrize("dice", [NAN, -0.1, 1.01])
def test_a_case_with_voxels_must_have_a_dice(dice):
    broken = changed(ONE, "a", "liver", dice=dice)
    rule = "a: liver Dice must be in [0, 1] where a mask has voxels, and empty where none has"
    assert rule in refusal(ONE, broken)
    assert refusal(broken, ONE).endswith(f"got {dice} in the baseline")


def test_a_case_without_voxels_must_have_none():
    healthy = tumors(NAN, healthy="a")
    assert "got 0.4 in the candidate" in refusal(healthy, changed(healthy, "a", "tumor", dice=0.4))


def test_a_class_that_nobody_scored_is_named():
    scores = {case: {"liver": rows["liver"]} for case, rows in ONE.scores.items()}
    assert refusal(ONE, Evaluation(scores)) == (
        "gate: a: tumor must be scored by both, got none in the candidate; "
        "b: tumor must be scored by both, got none in the candidate"
    )


def test_nothing_is_no_comparison():
    assert refusal(Evaluation({}), Evaluation({})).endswith(
        "there must be cases to compare, got none"
    )


def test_of_many_problems_some_are_named_and_all_are_counted():
    many = evaluation({f"case-{n}": (0.9, 0.5) for n in range(9)})
    line = refusal(evaluation({}), many)
    assert "case-4 in the candidate only; and 4 more" in line
    assert "case-5" not in line


def test_empty_under_both_is_counted_and_not_compared():
    found = pair(tumors(0.5, NAN, healthy="b"), tumors(0.4, NAN, healthy="b"), "tumor")
    assert found.empty == ("b",)
    assert [one.case for one in found.compared] == ["a"]


def test_a_new_false_alarm_is_a_loss_and_one_that_is_gone_a_gain():
    quiet, loud = tumors(0.5, NAN, healthy="b"), tumors(0.5, 0.0, healthy="b")
    new, gone = pair(quiet, loud, "tumor"), pair(loud, quiet, "tumor")
    assert [one.difference for one in new.compared] == [0, -1]
    assert [one.difference for one in gone.compared] == [0, 1]
    assert (new.alarms, gone.alarms) == (("b",), ())


def test_a_false_alarm_of_both_is_no_change():
    loud = tumors(0.0, healthy="a")
    assert [one.difference for one in pair(loud, loud, "tumor").compared] == [0]


def test_a_missed_tumor_is_a_dice_of_0():
    missed = changed(tumors(0.5), "a", "tumor", dice=0.0, predicted_voxels=0)
    assert [one.difference for one in pair(tumors(0.5), missed, "tumor").compared] == [-0.5]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"case,class\n", "must have every column, got none of dice, predicted_voxels, truth_ml"),
        (b"\xff\xfe\x00", "must "),
        (b"", "must have every column"),
        (
            b"case,class,dice,truth_ml,truth_voxels,predicted_voxels\na,liver,good,1,1,1\n",
            "must be a table of scores, got could not convert string to float: 'good'",
        ),
        (
            b"case,class,dice,truth_ml,truth_voxels,predicted_voxels\n" + 2 * b"a,liver,1,1,1,1\n",
            "must have one row for each case and class, got a liver twice",
        ),
    ],
)
def test_a_file_that_is_no_table_of_scores_is_one_line(tmp_path, content, rule):
    (tmp_path / "cases.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_evaluation(tmp_path)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: must be readable, got No such file"):
        read_evaluation(tmp_path / "gone.csv")


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_test_set_that_says_nothing_is_refused(tmp_path, content):
    (save(tmp_path, ONE) / "test_set.json").write_text(content)
    with pytest.raises(
        InputError, match=r"test_set\.json: must be JSON with the test set's sha256"
    ):
        read_evaluation(tmp_path)


def test_columns_that_a_later_version_adds_do_no_harm(tmp_path):
    lines = (save(tmp_path, ONE) / "cases.csv").read_text().splitlines()
    wider = [f"{line},{added}" for line, added in zip(lines, ["new", *"1234"], strict=True)]
    (tmp_path / "cases.csv").write_text("\n".join(wider))
    check_comparable(ONE, read_evaluation(tmp_path))
