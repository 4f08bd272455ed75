"""Windows to try a network on, and how far another form of it may stray on them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from jaxtyping import Float32

from dyntransnet.contract import Contract
from dyntransnet.errors import InputError, ParityError
from dyntransnet.imaging.tiling import Predict
from dyntransnet.learning.cache import CachedCase, cut

Windows = Float32[np.ndarray, "n 1 x y z"]

COUNT = 4
NOISE = 0.1
"""20 HU in a window of 400."""

STRAYING = 0.2
"""Of the logits' deviation: rounding to bf16 makes a few hundredths, a lost norm more than one."""


def windows_for(contract: Contract, cache: Path | None) -> Windows:
    """Windows of training cases around tumors and livers, or made-up ones of network input.

    Args:
        contract: window size.
        cache: what ``preprocess`` wrote; None makes windows up.

    Raises:
        InputError: the cache holds no case.
    """
    if cache is None:
        return _made_up(contract.patch_size)
    folders = sorted(path for path in cache.iterdir() if path.is_dir())
    if not folders:
        raise InputError(f"{cache}: must hold cases (dyntransnet preprocess), got none")
    cases = [CachedCase.open(folders[index * len(folders) // COUNT]) for index in range(COUNT)]
    return np.stack([_around_liver(case, contract) for case in cases])[:, None].astype(np.float32)


def predictor(model: onnx.ModelProto) -> Predict:
    """A graph in ONNX Runtime on the CPU, window by window."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = session.get_inputs()[0].name

    def predict(windows: np.ndarray) -> np.ndarray:
        logits = [session.run(None, {given: window[None]})[0] for window in windows]
        return np.concatenate(logits)

    return predict


def check_agreement(reference: Predict, tested: Predict, windows: Windows, *, who: str) -> float:
    """Hold one form of a network against another; masks are the parity gate's affair.

    Returns:
        The root mean square of the logits' differences, in their deviation.

    Raises:
        ParityError: it gives NaN or infinity, or strays by more than ``STRAYING``.
    """
    expected, found = reference(windows), tested(windows)
    if not np.isfinite(expected).all():
        raise ParityError(f"{who}: the model itself must give finite logits, got NaN or infinity")
    if not np.isfinite(found).all():
        raise ParityError(f"{who}: logits must be finite, got NaN or infinity")
    straying = float(np.sqrt(np.square(found - expected).mean()) / max(expected.std(), 1e-6))
    if not straying <= STRAYING:
        raise ParityError(
            f"{who}: logits must lie within {STRAYING:g} of the model's, in their deviation, "
            f"got {straying:.3g}"
        )
    return straying


def _made_up(shape: tuple[int, int, int]) -> Windows:
    """Air, mid-range, a step and a slope, all noisy; network input is in [-1, 1].

    Without noise a norm would have nothing but rounding errors to scale up.
    """
    step, slope = np.full(shape, -1.0), np.linspace(-1, 1, shape[2]) * np.ones(shape)
    step[shape[0] // 3 :, : shape[1] * 2 // 3] = 1
    made = np.stack([np.full(shape, -1.0), np.zeros(shape), step, slope])
    noise = np.random.default_rng(0).normal(0, NOISE, made.shape)
    return np.clip(made + noise, -1, 1)[:, None].astype(np.float32)


def _around_liver(case: CachedCase, contract: Contract) -> np.ndarray:
    centers = next((c for c in (case.tumor, case.liver) if len(c)), np.zeros((1, 3), int))
    return cut(case, centers[len(centers) // 2], contract.patch_size)[0]
