"""Grids, shapes and contracts whose geometry is known."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
from scipy import ndimage

from dyntransnet.contract import Contract, IntensityWindow, NetworkSpec
from dyntransnet.imaging.scan import Mask, Scan, write_mask, write_scan

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]

SHAPE: Shape = (19, 24, 13)
SPACING: Triple = (1.5, 0.9, 4.0)
CENTER = np.array([12.0, -30.0, 55.0])
WORLD = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
ORIENTATIONS = [
    "".join(sides[axis] for sides, axis in zip(pick, order, strict=True))
    for order in permutations(range(3))
    for pick in product(("RAS", "LPI"), repeat=3)
]


def affine_of(
    shape: Shape = SHAPE, spacing: Triple = SPACING, code: str = "RAS", *, tilt_deg: float = 0.0
) -> np.ndarray:
    """A grid around CENTER whose axes run towards the sides named by ``code``."""
    axes = np.zeros((3, 3))
    for axis, side in enumerate(code):
        world, sign = WORLD[side]
        axes[world, axis] = sign
    affine = np.eye(4)
    affine[:3, :3] = rotation(tilt_deg) @ axes * spacing
    affine[:3, 3] = CENTER - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def rotation(angle_deg: float) -> np.ndarray:
    """About all three axes."""
    sine, cosine = np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return about_z @ about_x


def world_of(shape: Shape, affine: np.ndarray) -> np.ndarray:
    """World millimeters of every voxel, (3, x, y, z)."""
    index = np.indices(shape).reshape(3, -1)
    return (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *shape)


def off_center(x: float, y: float, z: float) -> np.ndarray:
    """A world point, in millimeters from CENTER."""
    return CENTER + np.array([x, y, z])


def distance_to(shape: Shape, affine: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Millimeters from a world point to every voxel."""
    return np.linalg.norm(world_of(shape, affine) - np.reshape(point, (3, 1, 1, 1)), axis=0)


def turned(array: np.ndarray, affine: np.ndarray, order: Shape, flips: tuple[bool, bool, bool]):
    """The same voxels in the same places, stored along other axes."""
    step = np.eye(4)
    step[:3, :3] = np.eye(3)[:, list(order)]
    stored = array.transpose(order)
    for axis in np.flatnonzero(flips):
        step[:3, 3] += step[:3, axis] * (stored.shape[axis] - 1)
        step[:3, axis] *= -1
        stored = np.flip(stored, axis)
    return stored, affine @ step


def blobs(shape: Shape, *, seed: int, sigma: float = 2.5) -> np.ndarray:
    """Smooth random values of mean 0 and deviation 1."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def contract_of(**changes) -> Contract:
    """-100 .. 100 HU on a 3 mm grid."""
    values = {
        "network": NetworkSpec(name="made", options={}),
        "spacing_mm": (3.0, 3.0, 3.0),
        "patch_size": (16, 16, 16),
        "intensity": IntensityWindow(low_hu=-100, high_hu=100),
        "overlap": 0.5,
        "manifest_sha256": "0" * 64,
        "model_sha256": "1" * 64,
    }
    return Contract(**values | changes)


def case_of(
    shape: Shape = SHAPE, affine: np.ndarray | None = None, *, seed: int = 0
) -> tuple[Scan, Mask]:
    """A scan of blobs; bright ones are liver, the brightest tumor."""
    affine = affine_of(shape) if affine is None else affine
    values = blobs(shape, seed=seed)
    labels = (values > 0.3).astype(np.uint8) + (values > 1.2)
    return Scan("case", np.rint(values * 60).astype(np.int16), affine), Mask(labels, affine)


def save_lits(folder: Path, number: object, scan: Scan, mask: Mask, suffix=".nii.gz") -> None:
    """Write a case as LiTS ships it."""
    write_scan(scan, folder / f"volume-{number}{suffix}")
    write_mask(mask, folder / f"segmentation-{number}{suffix}")
