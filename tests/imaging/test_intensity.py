import numpy as np
import pytest

from builders import SHAPE, blobs
from dyntransnet.contract import IntensityWindow
from dyntransnet.imaging.intensity import AIR, normalize

RULE = IntensityWindow(low_hu=-160, high_hu=240)


@pytest.mark.parametrize(
    ("hu", "expected"), [(-1000, -1), (-160, -1), (-60, -0.5), (40, 0), (240, 1), (3000, 1)]
)
def test_known_hounsfield_units_have_known_values(hu, expected):
    value = normalize(np.full(SHAPE, hu, np.float32), RULE)
    np.testing.assert_allclose(value, expected, atol=1e-6)


def test_air_is_what_lies_below_the_window():
    assert normalize(np.full(SHAPE, -1024, np.float32), RULE).max() == AIR


def test_brighter_never_becomes_darker():
    hu = np.sort(blobs(SHAPE, seed=1).ravel() * 300).reshape(SHAPE)
    assert (np.diff(normalize(hu, RULE).ravel()) >= 0).all()
