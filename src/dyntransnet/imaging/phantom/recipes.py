"""Synthetic abdominal CT whose answer is known, for tests and for the demo pipeline.

The anatomy lives in RAS+ world millimeters and depends on the seed alone;
spacing, orientation and tilt only change how a scanner samples it.
"""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from scipy import ndimage

from dyntransnet.atomic import new_folder
from dyntransnet.contract import broken_rule
from dyntransnet.errors import ScanError
from dyntransnet.imaging.phantom.canvas import Canvas, Grid
from dyntransnet.imaging.phantom.liver import draw_liver, paint_liver
from dyntransnet.imaging.phantom.organs import paint_great_vessels, paint_organs
from dyntransnet.imaging.phantom.solids import EVERYWHERE, Wobble, turned
from dyntransnet.imaging.phantom.tissue import AIR_HU, draw_palette
from dyntransnet.imaging.phantom.trunk import Body, paint_spine, paint_trunk
from dyntransnet.imaging.phantom.tumors import draw_tumors, label, paint_tumors
from dyntransnet.imaging.scan import Mask, Scan, write_mask, write_scan

CENTER_MM = (0.0, 0.0, -12.0)
"""Middle of the field of view; the whole liver lies within 100 mm of it in height."""

POSITIONING_MM = 6.0
"""How far a patient lies off the middle of the field of view."""

BLUR_MM = (0.5, 0.9)
"""Standard deviation of a scanner's point spread, sharp to smooth."""

SLICE_SHARE = 0.3
"""Standard deviation of a slice's profile, as a share of the slice distance."""

NOISE_HU = (11.0, 23.0)
GRAIN_MM = 1.3
"""How far noise reaches to its neighbors."""

BIAS_HU = 5.0
BIAS_MM = 250.0
AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


class Recipe(BaseModel):
    """How to make one phantom.

    Attributes:
        number: of the case, as in ``volume-<number>.nii.gz``.
        patient: who was scanned; scans of one patient share seed and tumors.
        seed: of the anatomy.
        spacing_mm: voxel edges, in voxel axis order.
        shape: voxels, in voxel axis order.
        orientation: the side of the patient that each voxel axis runs towards, as "LPS".
        tilt_deg: angle between the voxel axes and the world's, about all three axes.
        tumors: how many.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=0)
    patient: str
    seed: int = Field(ge=0)
    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    orientation: str
    tilt_deg: float = 0.0
    tumors: int = Field(ge=0, le=6)

    @field_validator("orientation")
    @classmethod
    def _one_letter_per_axis(cls, code: str) -> str:
        if sorted(AXES.get(letter, (9, 0))[0] for letter in code) != [0, 1, 2]:
            raise ValueError(f"must hold one of R L, one of A P and one of S I, got {code}")
        return code


def read_recipes(path: Path) -> list[Recipe]:
    """Read a list of recipes from YAML.

    Raises:
        ScanError: the file is missing or no list of valid recipes, or two recipes
            have one number.
    """
    try:
        recipes = TypeAdapter(list[Recipe]).validate_python(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise ScanError(
            f"{path}: recipes must be readable, got {error.strerror}", code="layout"
        ) from error
    except yaml.YAMLError as error:
        raise ScanError(
            f"{path}: recipes must be YAML, got {str(error).splitlines()[0]}", code="layout"
        ) from error
    except ValidationError as error:
        raise ScanError(f"{path}: {broken_rule(error)}", code="layout") from error
    twice = [n for n, count in Counter(recipe.number for recipe in recipes).items() if count > 1]
    if twice:
        raise ScanError(f"{path}: case numbers must differ, got {twice[0]} twice", code="layout")
    return recipes


def write_phantoms(recipes: Sequence[Recipe], folder: Path) -> None:
    """Write phantoms as LiTS ships its cases, one process per core.

    Args:
        recipes: what to make.
        folder: gets ``volume-N.nii.gz`` and ``segmentation-N.nii.gz``; replaced if it is there.

    Raises:
        OutputError: the folder cannot be written to.
    """
    workers = max(1, min(len(recipes), os.cpu_count() or 1))
    with (
        new_folder(folder) as partial_folder,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        # Exhausting the iterator passes on the first error.
        list(pool.map(partial(_write_phantom, partial_folder), recipes))


def _write_phantom(folder: Path, recipe: Recipe) -> None:
    scan, mask = make_phantom(recipe)
    write_scan(scan, folder / f"volume-{recipe.number}.nii.gz")
    write_mask(mask, folder / f"segmentation-{recipe.number}.nii.gz")


def make_phantom(recipe: Recipe) -> tuple[Scan, Mask]:
    """Make a phantom: the same recipe gives the same voxels.

    Returns:
        The scan in Hounsfield units (int16), and its labels on the same grid.
    """
    rng = np.random.default_rng(recipe.seed)
    chance = np.random.default_rng([recipe.seed, recipe.number])
    grid = _grid(recipe, chance)
    hu, body = draw_palette(rng), Body.draw(rng)
    canvas = Canvas(grid, AIR_HU)
    abdomen = canvas.sampled(body.abdomen)
    liver = draw_liver(body, abdomen, rng)
    liver = replace(liver, solid=canvas.sampled(liver.solid))
    paint_trunk(canvas, body, hu, rng)
    paint_organs(canvas, body, abdomen, hu, rng)
    paint_great_vessels(canvas, body, hu)
    paint_spine(canvas, body, hu)
    paint_liver(canvas, body, liver, hu, rng)
    tumors = draw_tumors(liver, recipe.tumors, rng)
    paint_tumors(canvas, tumors, hu)
    voxels = _acquire(canvas, recipe, chance)
    labels = label(canvas, liver, tumors)
    return Scan(f"volume-{recipe.number}", voxels, grid.affine), Mask(labels, grid.affine)


def _grid(recipe: Recipe, chance: np.random.Generator) -> Grid:
    """The field of view, centered on the patient but for some carelessness."""
    axes = np.zeros((3, 3))
    for axis, letter in enumerate(recipe.orientation):
        world, sign = AXES[letter]
        axes[world, axis] = sign
    if recipe.tilt_deg:
        for world in range(3):
            axes = turned(world, recipe.tilt_deg) @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * recipe.spacing_mm
    middle = np.array(CENTER_MM) + chance.uniform(-1, 1, 3) * (POSITIONING_MM, POSITIONING_MM, 0)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(recipe.shape) - 1) / 2)
    return Grid(recipe.shape, affine)


def _acquire(canvas: Canvas, recipe: Recipe, chance: np.random.Generator) -> np.ndarray:
    """What a scanner makes of an anatomy: blur, correlated noise, a mild bias."""
    spacing = np.array(recipe.spacing_mm)
    blur = np.maximum(chance.uniform(*BLUR_MM) / spacing, SLICE_SHARE * (spacing == spacing.max()))
    voxels = ndimage.gaussian_filter(canvas.voxels, blur, mode="nearest", truncate=3)
    noise = chance.standard_normal(voxels.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, GRAIN_MM / spacing, mode="wrap", truncate=3)
    voxels += noise * np.float32(chance.uniform(*NOISE_HU) / noise.std())
    voxels += Wobble.draw(chance, BIAS_HU, BIAS_MM, terms=3)(canvas.near(*EVERYWHERE)[1])
    return np.clip(np.rint(voxels), -1024, 3071).astype(np.int16)
