import numpy as np
import pytest

from builders import case_of
from dyntransnet.errors import ScanError
from dyntransnet.imaging.checks.values import check_fat, check_hounsfield, check_not_constant
from dyntransnet.imaging.phantom.recipes import Recipe, make_phantom
from dyntransnet.imaging.scan import Mask, Scan


@pytest.fixture(scope="module")
def phantom() -> tuple[Scan, Mask]:
    """A trunk in air, with fat, bone and a liver of about 100 HU."""
    return make_phantom(
        Recipe(
            number=0, patient="p", seed=4, spacing_mm=(4.0, 3.5, 5.0), shape=(90, 96, 44),
            orientation="LPS", tumors=2,
        )
    )  # fmt: skip


def seen(scan: Scan, change) -> Scan:
    voxels = change(scan.voxels.astype(np.float32)).astype(np.float32)
    return Scan("case", voxels, scan.affine)


@pytest.mark.parametrize(
    "change",
    [
        lambda hu: hu,
        lambda hu: np.clip(hu, -160, 240),
        lambda hu: np.clip(hu, -100, 400),
        lambda hu: hu - 60,
        lambda hu: hu + 80,
    ],
    ids=["whole", "windowed", "wide window", "fatty liver", "much contrast"],
)
def test_hounsfield_units_are_sound(phantom, change):
    scan, mask = phantom
    check_hounsfield(seen(scan, change), mask)
    check_fat(seen(scan, change))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda hu: hu + 1024, "a liver's median must be -100 to 300 HU, got 11"),
        (lambda hu: hu * 10, "a liver's median must be -100 to 300 HU, got "),
        (lambda hu: hu - 1024, "a liver's median must be -100 to 300 HU, got -9"),
        (lambda hu: (np.clip(hu, -160, 240) + 160) / 400, "must span 100 HU, got 0 to 1$"),
    ],
    ids=["offset forgotten", "slope forgotten", "offset twice", "0 to 1"],
)
def test_what_cannot_be_hounsfield_units_is_refused(phantom, change, found):
    scan, mask = phantom
    with pytest.raises(ScanError, match=found) as caught:
        check_hounsfield(seen(scan, change), mask)
    assert caught.value.code == "not-hounsfield"


def test_gray_values_of_a_picture_are_told_of(phantom):
    scan, mask = phantom
    gray = seen(scan, lambda hu: np.rint((np.clip(hu, -160, 240) + 160) / 400 * 255))
    check_hounsfield(gray, mask)
    with pytest.raises(ScanError, match="case: CT should have fat or air below 0 HU, got 0 as"):
        check_fat(gray)


def test_without_a_liver_nothing_is_said_of_its_values(phantom):
    scan, mask = phantom
    check_hounsfield(seen(scan, lambda hu: hu + 1024), Mask(mask.labels * 0, mask.affine))


def test_one_value_everywhere_is_no_scan():
    scan, _ = case_of()
    check_not_constant(scan)
    with pytest.raises(ScanError, match="case: voxels must differ, got -7 everywhere"):
        check_not_constant(Scan("case", np.full_like(scan.voxels, -7), scan.affine))
