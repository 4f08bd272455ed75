"""Which lesions the scorer of the LiTS challenge takes for detected, slips included."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int
from scipy import ndimage

Object = tuple[list[int], list[int]]
"""Numbers of the lesions of the truth and of the prediction that were matched."""


def detect(table: Int[np.ndarray, "truth predicted"], least: float) -> tuple[int, list[Object]]:
    """How many lesions count as detected, and the lesions of each detected object.

    Args:
        table: voxels of each pair of labels, the truth's by the prediction's, 0 included.
        least: what intersection over union must exceed.

    Source:
        https://github.com/PatrickChrist/lits-challenge-scoring program/helpers/calc_metric.py
    """
    members, joined = _objects(table)
    count, kept = len(joined), dict(joined)
    # An object is tried under its first predicted lesion, in the order of these.
    for first, number in sorted((min(found), number) for number, found in joined.items()):
        mine, named_so = members[number], kept.get(first, [])
        both = table[np.ix_(mine, joined[number])].sum()
        union = table[mine].sum() + table[:, named_so].sum() - table[np.ix_(mine, named_so)].sum()
        if both / union <= least:
            del kept[number]
            count -= len(mine)
    return count, [(members[number], kept[number]) for number in sorted(kept)]


def _objects(table: np.ndarray) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """For each object, named by its first lesion of the truth, the labels of both masks."""
    shared = table[1:, 1:]
    leads = [int(row.argmax()) if row.any() else None for row in shared]
    members: dict[int, list[int]] = {}
    for label, lead in enumerate(leads, start=1):
        first = label if lead is None else leads.index(lead) + 1
        members.setdefault(first, []).append(label)
    joined: dict[int, list[int]] = {}
    for found in range(1, table.shape[1]):
        voxels = {number: table[labels, found].sum() for number, labels in members.items()}
        if voxels and any(voxels.values()):
            joined.setdefault(max(voxels, key=lambda each: voxels[each]), []).append(found)
    return members, joined


def masks_of(
    objects: Sequence[Object],
    labels: Int[np.ndarray, "x y z"],
    found_labels: Int[np.ndarray, "x y z"],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Truth and prediction of each object, in the box around both.

    Args:
        objects: what ``detect`` gave.
        labels: numbered lesions of the truth.
        found_labels: numbered lesions of the prediction.
    """
    numbered = []
    for lesions, side in ((labels, 0), (found_labels, 1)):
        number_of = np.zeros(lesions.max() + 1, np.int32)
        for number, members in enumerate(objects, start=1):
            number_of[members[side]] = number
        numbered.append(number_of[lesions])
    boxes = (ndimage.find_objects(one, len(objects)) for one in numbered)
    for number, (one, other) in enumerate(zip(*boxes, strict=True), start=1):
        box = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(one, other, strict=True)
        )
        yield numbered[0][box] == number, numbered[1][box] == number
