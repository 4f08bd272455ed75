"""Training caches whose content is known, and parameters to train on them within seconds."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from dyntransnet.config import AugmentParams, LesionParams, Params, PreprocessParams, TrainParams
from dyntransnet.contract import IntensityWindow
from dyntransnet.imaging.intensity import AIR

Shape = tuple[int, int, int]

SHAPE: Shape = (22, 30, 26)
WINDOW = IntensityWindow(low_hu=-160, high_hu=240)
OURS = Path(__file__).parents[1] / "params.yaml"

SMALL = {"embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "windows": [2, None], "stem_dim": 4}
"""Options of a dyntransnet_tiny that takes multiples of 4 and trains many steps a second."""

STILL = AugmentParams(
    flip_axes=(),
    rotation_deg=0,
    scale=0,
    elastic_mm=0,
    thick_slices=0,
    slice_mm=1,
    intensity_shift=0,
    intensity_scale=0,
    noise=0,
    lesions=LesionParams(share=0, most=1, radius_mm=(1, 1), contrast=(0, 0)),
)
"""No augmentation."""


def balls(shape: Shape = SHAPE, *, liver: float = 8, tumor: float = 4, seed: int = 0) -> np.ndarray:
    """Labels: a ball of liver, and in it a smaller one of tumor, a little off the center."""
    center = np.array(shape) / 2 + np.random.default_rng(seed).uniform(-2, 2, 3)
    away = np.indices(shape) - center.reshape(3, 1, 1, 1)
    distance = np.linalg.norm(away, axis=0)
    inner = np.linalg.norm(away - np.array([2, -1, 1]).reshape(3, 1, 1, 1), axis=0)
    inside = (distance < liver).astype(np.uint8)
    return inside + (inside * (inner < tumor)).astype(np.uint8)


def save_case(folder: Path, label: np.ndarray, image: np.ndarray | None = None) -> None:
    """A case as ``preprocess`` leaves it; without an image the liver is bright, tumors less."""
    if image is None:
        image = np.array([AIR / 2, 0.6, 0.2])[label]
    folder.mkdir(parents=True)
    np.save(folder / "image.npy", image.astype(np.float16))
    np.save(folder / "label.npy", label.astype(np.uint8))
    np.save(folder / "air.npy", np.float16(AIR))
    for name, inside in (("liver", label > 0), ("tumor", label == 2)):
        np.save(folder / f"{name}.npy", np.argwhere(inside).astype(np.int16))


def save_workspace(root: Path, *, cases: int = 3) -> Path:
    """Cache, splits and manifest."""
    names = [f"volume-{index}" for index in range(cases)]
    save_cache(root, names)
    (root / "manifest.json").write_text(
        json.dumps({"layout": "lits", "cases": names, "fingerprint": {"cases": cases}})
    )
    return root


def save_cache(root: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """Cache and splits; two folds, each case but the last trains in both."""
    cache, splits = root / "cache", root / "splits.json"
    for seed, name in enumerate(names):
        save_case(cache / name, balls(seed=seed))
    grid = PreprocessParams(spacing_mm=(2.0, 3.0, 2.5), intensity=WINDOW)
    (cache / "grid.json").write_text(grid.model_dump_json())
    fold = {"train": names[:-1], "validation": names[-1:]}
    splits.write_text(json.dumps({"folds": [fold, fold], "test": []}))
    return cache, splits


def train_params(**changes) -> TrainParams:
    """Ours, with a small patch and few steps."""
    values = yaml.safe_load(OURS.read_text())["train"] | {
        "patch_size": (12, 20, 16),
        "tile_size": None,
        "wide_share": 0.0,
        "steps": 6,
        "validate_every": 3,
        "save_every": 3,
        "precision": "fp32",
        "channels_last": False,
    }
    return TrainParams(**values | changes)


def params_of(**changes) -> Params:
    """Ours, with the small network and ``train_params``."""
    ours = Params.load(OURS)
    network = ours.network.model_copy(update={"name": "dyntransnet_tiny", "options": SMALL})
    return ours.model_copy(update={"network": network, "train": train_params(**changes)})
