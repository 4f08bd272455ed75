import numpy as np
import pytest

from dyntransnet.errors import ScanError
from dyntransnet.imaging.labels import OURS, Numbering, to_labels

VALUES = np.arange(12, dtype=np.float32).reshape(2, 3, 2) % 7


@pytest.mark.parametrize(
    ("numbering", "expected"),
    [
        (Numbering((5,), (), "background"), [0, 0, 0, 0, 0, 1, 0]),
        (Numbering((1, 3), (2, 6), "background"), [0, 1, 2, 1, 0, 0, 2]),
        (Numbering((1, 2, 3, 4, 5), (6,), "refused"), [0, 1, 1, 1, 1, 1, 2]),
    ],
)
def test_values_become_ours(numbering, expected):
    labels = to_labels(VALUES, numbering, "case")
    np.testing.assert_array_equal(labels, np.array(expected)[VALUES.astype(int)])
    assert labels.dtype == np.uint8


@pytest.mark.parametrize(
    ("numbering", "message"),
    [
        (OURS, "labels must be 0, 1 or 2, got 0, 1, 2, 3, 4, 5, 6"),
        (Numbering((5,), (4,)), "labels must be 0, 4 or 5, got 0, 1, 2, 3, 4, 5, 6"),
        (Numbering((), ()), "labels must be 0, got 0, 1, 2, 3, 4, 5, 6"),
    ],
)
def test_other_values_are_refused(numbering, message):
    with pytest.raises(ScanError, match=f"^case: {message}$"):
        to_labels(VALUES, numbering, "case")


@pytest.mark.parametrize("value", [0.5, 1.5, -1.0])
def test_values_between_labels_are_none(value):
    with pytest.raises(ScanError, match=f"labels must be 0, 1 or 2, got .*{value:g}"):
        to_labels(np.full((2, 3, 4), value), OURS, "case")
