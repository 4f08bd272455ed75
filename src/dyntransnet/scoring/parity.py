"""How closely an exported model must agree with the one it was made from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyntransnet.errors import InputError


@dataclass(frozen=True)
class ParityLimits:
    """The farthest that two runtimes of one model may lie apart.

    Attributes:
        max_difference: of any logit.
        min_dice: between their masks.
    """

    max_difference: float
    min_dice: float


@dataclass(frozen=True)
class Parity:
    """How an exported model fared.

    Attributes:
        runtimes: that were held against torch.
        broken: one line for each limit that one breaks.
    """

    runtimes: tuple[str, ...]
    broken: tuple[str, ...]


def disagreements(parity: Mapping[str, Mapping[str, Any]], limits: ParityLimits) -> list[str]:
    """Every limit that a runtime breaks, NaN included.

    Args:
        parity: runtime to its ``max_difference`` and ``dice_min`` with torch.
        limits: what is allowed.
    """
    broken = []
    for name, row in parity.items():
        if not row["max_difference"] <= limits.max_difference:
            broken.append(
                f"{name} logits must be within {limits.max_difference:g} of torch's, "
                f"got {row['max_difference']:.3g}"
            )
        if not row["dice_min"] >= limits.min_dice:
            broken.append(
                f"{name} masks must have Dice {limits.min_dice:g} with torch's, "
                f"got {row['dice_min']:.5f}"
            )
    return broken


def read_parity(path: Path, limits: ParityLimits) -> Parity:
    """Hold the parity.json that ``export`` wrote to limits.

    Raises:
        InputError: the file is missing or something else.
    """
    try:
        runtimes = json.loads(path.read_text())["runtimes"]
        found = {
            str(name): {key: float(row[key]) for key in ("max_difference", "dice_min")}
            for name, row in runtimes.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: must be the parity.json that export writes, got {type(error).__name__}"
        ) from error
    if not found:
        raise InputError(f"{path}: must tell of a runtime, got none")
    return Parity(tuple(found), tuple(disagreements(found, limits)))
