from pathlib import Path

import numpy as np
import pydicom
import pytest

from builders import affine_of, case_of, turned
from dicoms import LIVER, MASS, NAME, WORLD, save_segmentation
from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.segments import read_segments, referenced_series
from dyntransnet.imaging.scan import Mask, Scan

AFFINE = affine_of(code="LPS", tilt_deg=8)
SCAN, MASK = case_of(affine=AFFINE)
KIDNEY = ("SCT", "64033007")


def read(*paths: Path, scan: Scan = SCAN) -> np.ndarray:
    return read_segments(paths, scan, WORLD, "case").labels


def test_liver_and_mass_come_back(tmp_path):
    np.testing.assert_array_equal(read(save_segmentation(tmp_path / "seg", MASK)), MASK.labels)


def test_fractions_are_inside_from_one_half(tmp_path):
    path = save_segmentation(tmp_path / "seg", MASK, kind="FRACTIONAL")
    np.testing.assert_array_equal(read(path), MASK.labels)
    found = pydicom.dcmread(path)
    found.PixelData = bytes(99 if value else 0 for value in found.PixelData)  # of 200
    found.save_as(path)
    assert not read(path).any()


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (("SCT", "108369006"), 2),
        (("SCT", "52988006"), 2),
        (("SRT", "M-03000"), 2),
        (("99SDM", "M-01100"), 2),
        (("SRT", "T-62000"), 1),
        (KIDNEY, 0),
        (("99LOCAL", "4147007"), 0),
    ],
)
def test_segments_are_told_by_their_codes(tmp_path, code, label):
    path = save_segmentation(tmp_path / "seg", MASK, [(1, LIVER), (2, code)])
    expected = np.array([0, 1, label])[MASK.labels]
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize(("region", "label"), [(KIDNEY, 0), (LIVER, 2)])
def test_a_mass_elsewhere_is_none_of_the_liver(tmp_path, region, label):
    path = save_segmentation(tmp_path / "seg", MASK, region=region)
    np.testing.assert_array_equal(read(path), np.array([0, 1, label])[MASK.labels])


def test_tumor_lies_above_liver_in_whatever_order_they_come(tmp_path):
    whole = Mask((MASK.labels > 0).astype(np.uint8), AFFINE)
    paths = (
        save_segmentation(tmp_path / "a", MASK, [(2, MASS)]),
        save_segmentation(tmp_path / "b", whole, [(1, LIVER)]),
    )
    np.testing.assert_array_equal(read(*paths), MASK.labels)
    np.testing.assert_array_equal(read(*paths[::-1]), MASK.labels)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(True, False, True), (False, True, False)])
def test_frames_may_be_cut_along_other_axes_of_the_grid(tmp_path, order, flips):
    labels, affine = turned(MASK.labels, AFFINE, order, flips)
    path = save_segmentation(tmp_path / "seg", Mask(np.ascontiguousarray(labels), affine))
    np.testing.assert_array_equal(read(path), MASK.labels)


def test_frames_may_show_less_than_the_scan(tmp_path):
    labels = np.zeros_like(MASK.labels)
    box = (slice(3, 15), slice(6, 20), slice(2, 9))
    labels[box] = MASK.labels[box]
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [3, 6, 2, 1])[:3]
    path = save_segmentation(tmp_path / "seg", Mask(MASK.labels[box], affine))
    np.testing.assert_array_equal(read(path), labels)


@pytest.mark.parametrize(
    ("move", "message"),
    [
        ((0.4, 0, 0), r"lie on the scan's grid within 0\.25 voxels, got 0\.4$"),
        ((0, 0, 2), r"lie within the scan, got some outside$"),
    ],
)
def test_segments_off_the_grid_are_refused(tmp_path, move, message):
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [*move, 1])[:3]
    path = save_segmentation(tmp_path / "seg", Mask(MASK.labels, affine))
    with pytest.raises(ScanError, match=f"^case: segments must {message}") as caught:
        read(path)
    assert caught.value.code == "mask-off-grid"


def test_segments_of_another_spacing_are_refused(tmp_path):
    affine = AFFINE @ np.diag([2, 2, 1, 1])
    path = save_segmentation(tmp_path / "seg", Mask(MASK.labels, affine))
    with pytest.raises(ScanError, match=r"^case: segments must lie on the scan's grid"):
        read(path)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (
            {"segments": [(1, KIDNEY), (2, MASS)]},
            "segments-no-liver",
            r"a segment must be coded as liver .*, got none$",
        ),
        ({"world": "1.2.3"}, "mask-off-grid", r"must share the scan's world, got another one$"),
        ({"kind": "LABELMAP"}, "unreadable", r"must be BINARY or FRACTIONAL, got another kind$"),
    ],
)
def test_segmentations_that_do_not_fit_are_refused(tmp_path, changes, code, message):
    path = save_segmentation(tmp_path / "seg", MASK, **changes)
    with pytest.raises(ScanError, match=f"^case: .*{message}") as caught:
        read(path)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "lost", ["SegmentSequence", "PixelData", "PerFrameFunctionalGroupsSequence"]
)
def test_segmentations_without_a_part_are_refused(tmp_path, lost):
    path = save_segmentation(tmp_path / "seg", MASK)
    found = pydicom.dcmread(path)
    delattr(found, lost)
    found.save_as(path)
    with pytest.raises(ScanError, match=r"^case: DICOM files must be whole, got \w+ from one$"):
        read(path)


@pytest.mark.parametrize(
    ("tags", "code", "shown"),
    [
        ({"NumberOfFrames": 3}, "size-not-header", r"got 3 frames, 1368 pixels"),
        ({"Rows": 60_000, "Columns": 60_000}, "too-large", r"got 26 frames, 93600000000 pixels"),
    ],
)
def test_segmentations_of_another_size_than_they_have_are_refused(tmp_path, tags, code, shown):
    path = save_segmentation(tmp_path / "seg", MASK)
    found = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(found, name, value)
    found.save_as(path)
    with pytest.raises(ScanError, match=rf"^case: a segmentation must say .* {shown}$") as caught:
        read(path)
    assert caught.value.code == code


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_cut_off_segmentations_are_refused_without_a_word_of_their_content(tmp_path, kept, capfd):
    path = save_segmentation(tmp_path / NAME, MASK)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ScanError, match=r"^case: (DICOM files|a segmentation) must ") as caught:
        read(path)
    said = str(caught.value) + "".join(capfd.readouterr())
    assert NAME not in said


def test_a_segmentation_names_the_series_it_was_drawn_on(tmp_path):
    paths = [save_segmentation(tmp_path / str(n), MASK, drawn_on=n) for n in (4, 6)]
    assert {name[-2:] for name in referenced_series(paths, "case")} == {".4", ".6"}
