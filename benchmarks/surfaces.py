"""HD95, surface Dice and ASSD of one pair of masks: ours, surface-distance and MONAI.

    python benchmarks/surfaces.py [MASK] [--repeats 5]

MASK is a label map such as LiTS's segmentation-1 (its whole liver is taken); without one a
synthetic liver of 512 x 512 x 123 voxels is made. The prediction is the mask moved by some
voxels, with a piece more and a piece less. All run in turns in one process on one thread;
the best of the repeats counts. What each tool says is printed beside its time.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import surface_distance
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from dyntransnet.imaging.scan import read_mask, spacing_of
from dyntransnet.scoring.surfaces import ROUNDING_MM, surface_scores

SHAPE, SPACING_MM = (512, 512, 123), (0.7, 0.7, 2.5)
MOVED_BY = (3, -2, 1)
TOLERANCE_MM = 3.0

Scores = tuple[float, float, float]
"""HD95 in mm, surface Dice, ASSD in mm."""


def synthetic_liver() -> np.ndarray:
    """An ellipsoid with a wavy surface, as large as a liver."""
    x, y, z = (np.linspace(-1, 1, edge, dtype=np.float32) for edge in SHAPE)
    x, y, z = x[:, None, None] + 0.15, y[None, :, None] - 0.1, z[None, None, :]
    wave = 0.06 * np.sin(19 * x + 3) * np.sin(17 * y) * np.sin(11 * z)
    return (x / 0.55) ** 2 + (y / 0.42) ** 2 + (z / 0.5) ** 2 < 1 + wave


def perturbed(mask: np.ndarray) -> np.ndarray:
    """The mask, moved, with a block in its middle left out and one far away put in."""
    found = np.roll(mask, MOVED_BY, axis=(0, 1, 2))
    middle = [int(np.median(places)) for places in np.nonzero(mask)]
    found[tuple(slice(at, at + 15) for at in middle)] = False
    found[20:40, 30:50, 5:10] = True
    return found


def ours(truth: np.ndarray, predicted: np.ndarray, spacing: tuple[float, float, float]) -> Scores:
    """This package."""
    found = surface_scores(truth, predicted, spacing, tolerance_mm=TOLERANCE_MM)
    return float(found["hd95_mm"]), float(found["nsd"]), float(found["assd_mm"])


def library(truth: np.ndarray, predicted: np.ndarray, spacing: tuple[float, ...]) -> Scores:
    """DeepMind's surface-distance."""
    found = surface_distance.compute_surface_distances(truth, predicted, spacing)
    there, back = found["distances_gt_to_pred"], found["distances_pred_to_gt"]
    areas, others = found["surfel_areas_gt"], found["surfel_areas_pred"]
    return (
        float(surface_distance.compute_robust_hausdorff(found, 95)),
        float(
            surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCE_MM + ROUNDING_MM)
        ),
        float((there @ areas + back @ others) / (areas.sum() + others.sum())),
    )


def monai(truth: np.ndarray, predicted: np.ndarray, spacing: tuple[float, ...]) -> Scores:
    """MONAI, one call for each score, as it has none for all."""
    masks = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
    options = {"include_background": True, "spacing": spacing}
    return (
        compute_hausdorff_distance(*masks, percentile=95, **options).item(),
        compute_surface_dice(
            *masks, class_thresholds=[TOLERANCE_MM], use_subvoxels=True, **options
        ).item(),
        compute_average_surface_distance(*masks, symmetric=True, **options).item(),
    )


TOOLS: dict[str, Callable[..., Scores]] = {
    "this package": ours,
    "surface-distance 0.1": library,
    "MONAI": monai,
}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mask", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    truth, spacing = synthetic_liver(), SPACING_MM
    if asked.mask:
        stored = read_mask(asked.mask)
        truth, spacing = stored.labels > 0, spacing_of(stored.affine)
    pair = truth, perturbed(truth)
    best = dict.fromkeys(TOOLS, float("inf"))
    said: dict[str, Scores] = {}
    for _ in range(asked.repeats):
        for name, tool in TOOLS.items():
            begun = time.perf_counter()
            said[name] = tool(*pair, spacing)
            best[name] = min(best[name], time.perf_counter() - begun)
    shape, edges = " x ".join(map(str, truth.shape)), " x ".join(f"{edge:.4g}" for edge in spacing)
    print(f"{shape} voxels of {edges} mm, {truth.sum()} inside\n")
    print(
        f"| tool | seconds | times ours | HD95 mm | surface Dice, {TOLERANCE_MM:g} mm | ASSD mm |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    for name, seconds in best.items():
        scores = " | ".join(f"{value:.4f}" for value in said[name])
        print(f"| {name} | {seconds:.3f} | {seconds / best['this package']:.1f} | {scores} |")


if __name__ == "__main__":
    main()
