"""How closely an exported model must agree with the one it was made from.

A form of a model is a runtime and a precision, as in "openvino bf16".
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyntransnet.errors import InputError


@dataclass(frozen=True)
class ParityLimits:
    """The farthest that a form of a model may lie from torch in fp32.

    Attributes:
        relative_difference: of any logit, as a share of the largest: rounding grows with it.
        min_dice: between their masks, of windows and of each whole scan, where they are
            large enough to tell.
        max_dice_change: of a class against the truth, mean over whole scans; to either
            side.
    """

    relative_difference: float
    min_dice: float
    max_dice_change: float


@dataclass(frozen=True)
class Parity:
    """How an exported model fared.

    Attributes:
        forms: that were held against torch.
        broken: one line for each limit that one breaks.
    """

    forms: tuple[str, ...]
    broken: tuple[str, ...]


def disagreements(
    parity: Mapping[str, Mapping[str, Any]], limits: Mapping[str, ParityLimits]
) -> list[str]:
    """Every limit that a form breaks, NaN included.

    Args:
        parity: form to its ``precision`` and what ``agreement.summarize_agreement`` gave.
        limits: of each precision.
    """
    return [
        line
        for form, row in parity.items()
        for line in _broken(form, row, limits[row["precision"]])
    ]


def read_parity(path: Path, limits: Mapping[str, ParityLimits]) -> Parity:
    """Hold the parity.json that ``export`` wrote to limits.

    Raises:
        InputError: the file is missing or something else, or there is no limit for a
            precision in it.
    """
    try:
        forms = json.loads(path.read_text())["forms"]
        found = {str(form): _numbers(row) for form, row in forms.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: must be the parity.json that export writes, got {type(error).__name__}"
        ) from error
    if not found:
        raise InputError(f"{path}: must tell of a runtime, got none")
    if unknown := {row["precision"] for row in found.values()} - set(limits):
        raise InputError(
            f"{path}: must be of precisions in export.limits ({', '.join(limits)}), "
            f"got {', '.join(sorted(unknown))}"
        )
    return Parity(tuple(found), tuple(disagreements(found, limits)))


def _broken(form: str, row: Mapping[str, Any], limits: ParityLimits) -> Iterator[str]:
    if not row["relative_difference"] <= limits.relative_difference:
        yield (
            f"{form} logits must be within {limits.relative_difference:g} of torch's "
            f"largest, got {row['relative_difference']:.3g}"
        )
    if not row["dice_min"] >= limits.min_dice:
        yield (
            f"{form} masks must have Dice {limits.min_dice:g} with torch's, "
            f"got {row['dice_min']:.5f}"
        )
    for name, change in row["dice_change"].items():
        if change is not None and not abs(change) <= limits.max_dice_change:
            yield (
                f"{form} masks must have torch's Dice {name} against the truth within "
                f"{limits.max_dice_change:g}, got {change:+.5f}"
            )


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    changes = {str(name): change for name, change in row["dice_change"].items()}
    return {
        "precision": str(row["precision"]),
        "relative_difference": float(row["relative_difference"]),
        "dice_min": float(row["dice_min"]),
        "dice_change": {n: None if value is None else float(value) for n, value in changes.items()},
    }
