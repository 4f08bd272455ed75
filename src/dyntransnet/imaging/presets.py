"""Three named ways to run one model: what a mask may cost."""

from enum import StrEnum
from itertools import chain, combinations

import numpy as np

from dyntransnet.contract import Contract
from dyntransnet.errors import InputError
from dyntransnet.imaging.tiling import Predict

FAST_OVERLAP = 0.125
"""Windows share just so much that no border of one shows: about half as many along each axis."""

ACCURATE_OVERLAP = 0.75

AXES = {"x": 2, "y": 3, "z": 4}
"""Of windows (n, 1, x, y, z) and of logits."""


class Preset(StrEnum):
    """How many windows a scan is shown to the network in.

    ``standard`` is what the contract says, and what a model was scored with.
    """

    FAST = "fast"
    STANDARD = "standard"
    ACCURATE = "accurate"

    @classmethod
    def of(cls, *, fast: bool, accurate: bool) -> "Preset":
        """Of two flags.

        Raises:
            InputError: both are set.
        """
        if fast and accurate:
            raise InputError("preset: must be one of fast and accurate, got both")
        return cls.FAST if fast else cls.ACCURATE if accurate else cls.STANDARD


def tuned(preset: Preset, predict: Predict, contract: Contract) -> tuple[Predict, Contract]:
    """A model as a preset runs it.

    Fast has less overlap, accurate more. Accurate also shows every window mirrored, along
    the axes along which training did so: to another network that would be a patient that
    it never saw.
    """
    if preset is Preset.FAST:
        overlap = min(contract.overlap, FAST_OVERLAP)
    elif preset is Preset.ACCURATE:
        overlap = max(contract.overlap, ACCURATE_OVERLAP)
        predict = mirrored(predict, tuple(AXES[axis] for axis in contract.mirrored_axes))
    else:
        return predict, contract
    return predict, contract.model_copy(update={"overlap": overlap})


def mirrored(predict: Predict, axes: tuple[int, ...]) -> Predict:
    """A network's mean logits of windows and of their mirror images, turned back."""
    if not axes:
        return predict
    turns = list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))

    def mean(windows: np.ndarray) -> np.ndarray:
        answers = (np.flip(predict(np.flip(windows, turn).copy()), turn) for turn in turns)
        total: np.ndarray = next(answers).copy()
        for answer in answers:
            total += answer
        return total / len(turns)

    return mean
