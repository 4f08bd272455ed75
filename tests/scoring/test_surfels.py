import numpy as np
import pytest
from surface_distance import lookup_tables

from builders import affine_of, blobs, distance_to, off_center
from dyntransnet.scoring.surfels import areas_mm2, surface_of

SHAPE = (44, 50, 36)
SPACING = (2.0, 0.9, 1.5)


def area_of(mask: np.ndarray, spacing=SPACING) -> float:
    return float(surface_of(mask, spacing).areas_mm2.sum())


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING, (0.67, 0.71, 5.0), (4.0, 0.3, 0.3)])
def test_every_cube_has_the_area_that_the_published_table_gives_it(spacing):
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    backwards = [int(f"{code:08b}"[::-1], 2) for code in range(256)]  # its first voxel is bit 7
    np.testing.assert_allclose(areas_mm2(spacing), theirs[backwards], atol=1e-12)


def test_one_voxel_is_the_octahedron_between_it_and_its_neighbors():
    mask = np.zeros((4, 5, 3), bool)
    mask[1, 3, 2] = True
    x, y, z = (edge / 2 for edge in SPACING)
    face = np.sqrt((x * y) ** 2 + (y * z) ** 2 + (x * z) ** 2) / 2
    surface = surface_of(mask, SPACING)
    np.testing.assert_allclose(surface.areas_mm2, [face] * 8)
    assert sorted(map(tuple, surface.points)) == [
        (x, y, z) for x in (0, 1) for y in (2, 3) for z in (1, 2)
    ]


def test_a_box_has_six_faces():
    mask = np.zeros(SHAPE, bool)
    mask[2:42, 4:44, 3:33] = True
    x, y, z = (edge * step for edge, step in zip((40, 40, 30), SPACING, strict=True))
    assert area_of(mask) == pytest.approx(2 * (x * y + y * z + x * z), rel=0.02)


@pytest.mark.parametrize("radius", [12.0, 17.0])
def test_a_ball_has_a_little_more_than_four_pi_r_squared(radius):
    """Marching cubes cuts a ball of voxels into steps, which add about a tenth."""
    mask = distance_to(SHAPE, affine_of(SHAPE, SPACING), off_center(0.3, -0.2, 0.1)) <= radius
    assert 1 < area_of(mask) / (4 * np.pi * radius**2) < 1.15


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 1, 0)])
def test_a_mask_that_is_turned_or_mirrored_keeps_its_surface(order):
    mask = blobs((14, 11, 9), seed=3, sigma=1.0) > 0.5
    turned = np.flip(mask.transpose(order), axis=1)
    spacing = tuple(SPACING[axis] for axis in order)
    assert area_of(turned, spacing) == pytest.approx(area_of(mask))


def test_the_edge_of_the_array_closes_a_surface():
    mask = np.ones((4, 5, 3), bool)
    assert area_of(mask) == pytest.approx(area_of(np.pad(mask, 2)))
    assert surface_of(mask, SPACING).points.min() == -1


def test_an_empty_mask_has_no_pieces():
    assert surface_of(np.zeros((4, 5, 3), bool), SPACING).points.shape == (0, 3)


def test_the_order_in_memory_does_not_matter():
    mask = blobs((14, 11, 9), seed=3, sigma=1.0) > 0.5
    one, other = (surface_of(np.asarray(mask, order=order), SPACING) for order in "CF")
    np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(one.areas_mm2, other.areas_mm2)
