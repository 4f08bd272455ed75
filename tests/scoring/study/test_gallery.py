import numpy as np
import pytest
from matplotlib import image as png

from builders import affine_of, case_of, turned
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.scoring.study.gallery import draw_side_by_side, slices_of_interest

SHAPE = (22, 30, 16)
SPACING = (2.0, 1.5, 3.0)


def labels_of(liver: tuple[int, int], tumor: tuple[int, int]) -> np.ndarray:
    """Slices of liver, and of tumor within."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:18, 6:24, slice(*liver)] = 1
    labels[8:12, 10:15, slice(*tumor)] = 2
    return labels


@pytest.mark.parametrize(
    ("liver", "tumor", "expected"),
    [
        ((2, 14), (5, 11), (6, 8, 10)),
        ((2, 14), (5, 8), (5, 6, 7)),
        ((2, 14), (5, 7), (4, 8, 12)),
        ((0, 0), (0, 0), (2, 8, 13)),
    ],
)
def test_slices_are_spread_over_the_tumors_else_the_liver_else_all(liver, tumor, expected):
    """With slices 2 to 13 of liver, a sixth, a half and five sixths are 4, 8 and 12."""
    assert slices_of_interest(labels_of(liver, tumor)) == expected


def colors_in(picture: np.ndarray) -> tuple[int, int]:
    """Pixels of truth and of prediction."""
    red, green, blue = np.moveaxis(picture[:, :, :3], 2, 0)
    truth = (green > 0.6) & (red < 0.4)
    predicted = (red > 0.8) & (blue < 0.4)
    return int(truth.sum()), int(predicted.sum())


@pytest.mark.parametrize(("count", "blocks"), [(2, 1), (5, 1), (7, 2)])
def test_networks_stand_side_by_side_in_even_blocks_of_up_to_five(tmp_path, count, blocks):
    scan, truth = case_of(SHAPE, affine_of(SHAPE, SPACING))
    masks = {f"network {number}": truth for number in range(count)}
    draw_side_by_side(scan, truth, masks, tmp_path / "a", title="case")
    picture = png.imread(tmp_path / "a.png")
    assert 700 <= picture.shape[1] <= 1200
    panels = -(-count // blocks)
    width = picture.shape[1] / panels
    drawn = [
        colors_in(picture[60:-60, int(width * column) : int(width * (column + 1))])[1] > 0
        for column in range(panels)
    ]
    assert drawn == [True] * panels
    halves = np.array_split(picture[60:-60], blocks)
    assert all(colors_in(half)[1] > 0 for half in halves)
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_an_empty_prediction_is_shown_as_nothing_but_truth(tmp_path):
    scan, truth = case_of(SHAPE, affine_of(SHAPE, SPACING))
    empty = Mask(np.zeros(SHAPE, np.uint8), truth.affine)
    for name, mask in (("empty", empty), ("full", truth)):
        draw_side_by_side(scan, truth, {"network": mask}, tmp_path / name, title="case")
    bodies = [png.imread(tmp_path / f"{name}.png")[60:-60] for name in ("empty", "full")]
    (truth_shown, nothing), (_, predicted_shown) = map(colors_in, bodies)
    assert truth_shown > 100
    assert nothing < predicted_shown / 10


def test_a_case_without_any_liver_can_be_drawn(tmp_path):
    scan, truth = case_of(SHAPE, affine_of(SHAPE, SPACING))
    empty = Mask(np.zeros(SHAPE, np.uint8), truth.affine)
    draw_side_by_side(scan, empty, {"network": empty}, tmp_path / "a", title="case")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_picture_does_not_depend_on_how_the_scan_is_stored(tmp_path):
    scan, truth = case_of(SHAPE, affine_of(SHAPE, SPACING))
    order, flips = (2, 0, 1), (True, False, True)
    voxels, affine = turned(scan.voxels, scan.affine, order, flips)
    labels, _ = turned(truth.labels, scan.affine, order, flips)
    other = Scan("case", voxels, affine), Mask(labels, affine)
    for name, (one, mask) in (("ras", (scan, truth)), ("other", other)):
        draw_side_by_side(one, mask, {"network": mask}, tmp_path / name, title="case")
    pictures = [png.imread(tmp_path / f"{name}.png") for name in ("ras", "other")]
    np.testing.assert_allclose(*pictures, atol=0.02)
