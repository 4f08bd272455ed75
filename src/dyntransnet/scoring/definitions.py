"""Seven numbers that are all called Dice.

Papers seldom say which one they print, and on the same masks they lie up to thirty
points apart, so all are reported side by side and only like is compared with like.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from dyntransnet.scoring.overlap import Row, ratio

Case = Mapping[str, Row]
"""What ``score_case`` gave."""

DEFINITIONS = {
    "dice_liver": "liver without tumors (label = 1), mean over cases",
    "dice_whole_liver": "liver with tumors (label >= 1), mean over cases",
    "dice_tumor_case": "tumors, mean over the cases where truth or prediction has one",
    "dice_tumor_pooled": "tumors, voxels of all cases counted together",
    "dice_tumor_detected": "tumors, mean over detected lesions only, as the LiTS scorer",
    "dice_mean_fg": "mean of dice_whole_liver and dice_tumor_case",
    "dice_mean_with_bg": "mean of background, dice_whole_liver and dice_tumor_case",
}

MADE_OF = {
    "dice_liver": (0,),
    "dice_whole_liver": (1,),
    "dice_tumor_case": (2,),
    "dice_tumor_pooled": (4,),
    "dice_tumor_detected": (5,),
    "dice_mean_fg": (1, 2),
    "dice_mean_with_bg": (1, 2, 3),
}
"""Each definition is the mean of some of the six shares that ``dice_sums`` counts."""


def dice_definitions(cases: Sequence[Case]) -> dict[str, float | None]:
    """Every definition of Dice over the same cases.

    ``dice_liver`` takes the label alone, as a softmax over labels scores it;
    ``dice_whole_liver`` is the "liver" of the LiTS scorer and of the rest of this
    package. Means over cases leave out those where a class is empty in truth and
    prediction; the LiTS scorer counts such a tumor as 1, which lifts its per-case mean
    by every healthy patient.

    Args:
        cases: what ``score_case`` gave for each.

    Returns:
        Every name of ``DEFINITIONS`` to its value; None where no case, for
        ``dice_tumor_detected`` no detected lesion, defines it.
    """
    sums = np.sum([np.zeros((6, 2)), *(dice_sums(case) for case in cases)], axis=0)
    (values,) = dices_from(sums[None])
    return {
        name: None if math.isnan(value) else float(value)
        for name, value in zip(DEFINITIONS, values, strict=True)
    }


def dice_sums(case: Case) -> Float64[np.ndarray, "6 2"]:
    """What a case adds to the sums that every definition is made of.

    Returns:
        Part and whole of six shares: the means over cases of liver alone, whole liver,
        tumor and background, the pooled voxels of tumors, and the detected lesions.
    """
    row = case["tumor"]
    means = (_liver_alone(case), case["liver"]["dice"], row["dice"], _background(case))
    over_cases = [(0.0, 0.0) if math.isnan(dice) else (dice, 1.0) for dice in means]
    pooled = (2 * row["both_voxels"], _both_sizes(case, "tumor"))
    return np.array([*over_cases, pooled, (row["matches_dice"], row["matches"])], float)


def dices_from(sums: Float64[np.ndarray, "draws 6 2"]) -> Float64[np.ndarray, "draws 7"]:
    """The definitions, in their order, from ``dice_sums`` added up; NaN where not defined."""
    part, whole = sums[..., 0], sums[..., 1]
    shares = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return np.stack([shares[:, parts].mean(axis=1) for parts in MADE_OF.values()], axis=1)


def _liver_alone(case: Case) -> float:
    whole = _both_sizes(case, "liver") - _both_sizes(case, "tumor")
    return ratio(2 * case["liver"]["same_label_voxels"], whole)


def _background(case: Case) -> float:
    row = case["liver"]
    sizes = _both_sizes(case, "liver")
    neither = row["scan_voxels"] - (sizes - row["both_voxels"])
    return ratio(2 * neither, 2 * row["scan_voxels"] - sizes)


def _both_sizes(case: Case, name: str) -> float | int:
    """Voxels of the truth plus those of the prediction."""
    return case[name]["truth_voxels"] + case[name]["predicted_voxels"]
