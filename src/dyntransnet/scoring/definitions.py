"""Seven numbers that are all called Dice.

Papers seldom say which one they print, and on the same masks they lie up to thirty
points apart, so all are reported side by side and only like is compared with like.
"""

from collections.abc import Callable, Mapping, Sequence

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
    liver, whole, tumor, background = (
        _mean_over(cases, of_case) for of_case in (_liver_alone, _whole_liver, _tumor, _background)
    )
    return {
        "dice_liver": liver,
        "dice_whole_liver": whole,
        "dice_tumor_case": tumor,
        "dice_tumor_pooled": _defined(
            ratio(2 * _sum(cases, "both_voxels"), _both_sizes(cases, "tumor"))
        ),
        "dice_tumor_detected": _defined(ratio(_sum(cases, "matches_dice"), _sum(cases, "matches"))),
        "dice_mean_fg": _mean_of(whole, tumor),
        "dice_mean_with_bg": _mean_of(background, whole, tumor),
    }


def _whole_liver(case: Case) -> float:
    return case["liver"]["dice"]


def _tumor(case: Case) -> float:
    return case["tumor"]["dice"]


def _liver_alone(case: Case) -> float:
    whole = _both_sizes([case], "liver") - _both_sizes([case], "tumor")
    return ratio(2 * case["liver"]["same_label_voxels"], whole)


def _background(case: Case) -> float:
    row = case["liver"]
    sizes = _both_sizes([case], "liver")
    neither = row["scan_voxels"] - (sizes - row["both_voxels"])
    return ratio(2 * neither, 2 * row["scan_voxels"] - sizes)


def _both_sizes(cases: Sequence[Case], name: str) -> float | int:
    """Voxels of the truth plus those of the prediction."""
    return sum(case[name]["truth_voxels"] + case[name]["predicted_voxels"] for case in cases)


def _sum(cases: Sequence[Case], column: str) -> float | int:
    return sum(case["tumor"][column] for case in cases)


def _mean_over(cases: Sequence[Case], of_case: Callable[[Case], float]) -> float | None:
    return _mean_of(*(value for case in cases if (value := of_case(case)) == value))


def _mean_of(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _defined(value: float) -> float | None:
    return None if value != value else value
