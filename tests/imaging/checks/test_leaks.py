import pytest

from dyntransnet.errors import ParamsError
from dyntransnet.imaging.checks.leaks import bonds_of, check_parted

MANIFEST = {
    "cases": [
        {"id": "a1", "voxels_sha256": "1"},
        {"id": "a2", "voxels_sha256": "2"},
        {"id": "b", "voxels_sha256": "3"},
        {"id": "c", "voxels_sha256": "3"},
        {"id": "d", "voxels_sha256": "4"},
        {"id": "e", "voxels_sha256": "5"},
    ],
    "alike": [{"cases": ["d", "e"], "correlation": 0.97}],
}
OWNER = {"a1": "anna", "a2": "anna", "b": "b", "c": "c", "d": "d", "e": "e"}
BONDS = bonds_of(MANIFEST, OWNER)


def splits(train: str, validation: str, test: str = "") -> dict:
    return {
        "test": test.split(),
        "folds": [{"train": train.split(), "validation": validation.split()}],
    }


def test_patients_copies_and_near_duplicates_are_bound():
    assert [(bond.one, bond.other, bond.code) for bond in BONDS] == [
        ("a1", "a2", "patient-in-two-groups"),
        ("b", "c", "scan-in-two-groups"),
        ("d", "e", "near-duplicate-in-two-groups"),
    ]


def test_a_manifest_of_before_has_patients_alone():
    rows = {"cases": [{"id": "a1"}, {"id": "a2"}, {"id": "b"}]}
    assert [bond[:2] for bond in bonds_of(rows, OWNER | {})] == [("a1", "a2")]


def test_who_belongs_together_may_be_together():
    check_parted(splits("a1 a2", "b c", "d e"), BONDS, "split.file")


@pytest.mark.parametrize(
    ("parted", "found"),
    [
        (
            splits("a1 b c", "a2"),
            "patient-in-two-groups: a1 and a2 must be on one side (one patient), "
            "got train of fold 0 and validation of fold 0",
        ),
        (
            splits("c a1", "a2", "b").copy() | {"folds": [{"train": ["c"], "validation": []}]},
            "scan-in-two-groups: b and c must be on one side (equal voxels), "
            "got test and train of fold 0",
        ),
        (
            splits("a1", "e", "d"),
            "near-duplicate-in-two-groups: d and e must be on one side (correlation 0.97), "
            "got test and validation of fold 0",
        ),
        (
            splits("a1 b", "b"),
            "scan-in-two-groups: b must be on one side, got train of fold 0 and validation of "
            "fold 0",
        ),
    ],
)
def test_a_parted_pair_is_named_with_both_sides(parted, found):
    with pytest.raises(ParamsError) as caught:
        check_parted(parted, BONDS, "split.file")
    assert str(caught.value) == f"split.file: {found}"


def test_every_fold_is_looked_at_and_every_leak_listed():
    both = splits("a1 d", "b c")
    both["folds"].append({"train": ["b", "d"], "validation": ["a2", "e", "c"]})
    with pytest.raises(ParamsError) as caught:
        check_parted(both, BONDS, "split.file")
    assert str(caught.value).count("of fold 1") == 4
    assert "of fold 0" not in str(caught.value)
    assert str(caught.value).endswith("c must be held out once, got 2 folds")
