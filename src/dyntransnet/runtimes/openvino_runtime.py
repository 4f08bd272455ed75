"""OpenVINO on the CPU, in the precision that was asked for and that the CPU has."""

import logging
from pathlib import Path

import numpy as np
import openvino

from dyntransnet.contract import Contract
from dyntransnet.imaging.tiling import Predict

HINTS = {"fp32": "f32", "bf16": "bf16"}
"""What the file's float operators are computed in, to OpenVINO's name of it."""


def load(path: Path, contract: Contract, precision: str) -> Predict:
    """Compile an ONNX file or OpenVINO's own as a predictor.

    Args:
        path: the file; for int8 one that was quantized.
        contract: tensor names.
        precision: fp32, bf16 or int8; ``computed_in`` says what float operators run in.
    """
    used = computed_in(precision)
    if used == "fp32" != precision:
        logging.getLogger(__name__).warning(
            "openvino: this CPU has no bf16, so %s computes float operators in fp32", precision
        )
    # Always asked for: on CPUs with bf16 units OpenVINO would choose bf16 by itself.
    compiled = openvino.Core().compile_model(
        str(path), "CPU", {"INFERENCE_PRECISION_HINT": HINTS[used]}
    )

    def predict(windows: np.ndarray) -> np.ndarray:
        # The result lives in a buffer that the next call overwrites.
        return np.array(compiled({contract.input_name: windows})[contract.output_name])

    return predict


def computed_in(precision: str) -> str:
    """What float operators run in on this CPU: fp32, or bf16 where it was asked for and exists.

    Sums within norms are in fp32 either way. int8 is a matter of the file; what it leaves
    in floats is asked for in bf16.
    """
    return "bf16" if precision != "fp32" and has_bf16() else "fp32"


def has_bf16() -> bool:
    """Whether this CPU computes bf16 by itself (AVX512_BF16 or AMX)."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
