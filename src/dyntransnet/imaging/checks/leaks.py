"""Scans that must stay together: one patient's, equal ones, all but equal ones."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from dyntransnet.errors import ParamsError


class Bond(NamedTuple):
    """Two cases that must not be parted.

    Attributes:
        one: a case id.
        other: a case id.
        code: of the rule that parting them breaks.
        why: what they share, in words.
    """

    one: str
    other: str
    code: str
    why: str


@dataclass(frozen=True)
class Group:
    """Cases with one task, such as the test set."""

    name: str
    cases: frozenset[str]


def bonds_of(manifest: Mapping[str, Any], owner: Mapping[str, str]) -> list[Bond]:
    """Every two cases that must stay together.

    Args:
        manifest: what ``ingest`` wrote.
        owner: case id to patient.
    """
    hashes = {row["id"]: row.get("voxels_sha256") or row["id"] for row in manifest["cases"]}
    people = _pairs(owner, "patient-in-two-groups", "one patient")
    copies = _pairs(hashes, "scan-in-two-groups", "equal voxels")
    alike = [
        Bond(one, other, "near-duplicate-in-two-groups", f"correlation {pair['correlation']}")
        for pair in manifest.get("alike", [])
        for one, other in [pair["cases"]]
    ]
    return [*people, *copies, *alike]


def check_parted(splits: Mapping[str, Any], bonds: Sequence[Bond], key: str) -> None:
    """Make sure that no two groups of a split know each other.

    Args:
        splits: test cases and folds.
        bonds: who must stay together.
        key: of params.yaml, in messages.

    Raises:
        ParamsError: a case is in two groups, or two that must stay together are parted.
    """
    test, found = Group("test", frozenset(splits["test"])), []
    for number, fold in enumerate(splits["folds"]):
        sides = [Group(f"{name} of fold {number}", frozenset(fold[name])) for name in fold]
        found += find_leaks(bonds, [*sides, test])
    held_out = Counter(case for fold in splits["folds"] for case in fold["validation"])
    found += [
        f"{case} must be held out once, got {n} folds" for case, n in held_out.items() if n > 1
    ]
    if found:
        raise ParamsError(f"{key}: {'; '.join(dict.fromkeys(found))}")


def find_leaks(bonds: Sequence[Bond], groups: Sequence[Group]) -> list[str]:
    """Every case in two groups, and every bond that goes from one group to another.

    Args:
        bonds: who must stay together.
        groups: of which no two may know each other.

    Returns:
        A sentence for each, with the code of its rule.
    """
    found = []
    for here, there in combinations(groups, 2):
        found += [
            f"scan-in-two-groups: {case} must be on one side, got {here.name} and {there.name}"
            for case in sorted(here.cases & there.cases)
        ]
        for one, other in ((here, there), (there, here)):
            found += [
                f"{bond.code}: {bond.one} and {bond.other} must be on one side ({bond.why}), "
                f"got {one.name} and {other.name}"
                for bond in bonds
                if bond.one in one.cases and bond.other in other.cases
            ]
    return found


def _pairs(label: Mapping[str, str], code: str, why: str) -> Iterator[Bond]:
    """Every two cases that have the same label."""
    members: dict[str, list[str]] = {}
    for case, name in label.items():
        members.setdefault(name, []).append(case)
    for cases in members.values():
        for one, other in combinations(cases, 2):
            yield Bond(one, other, code, why)
