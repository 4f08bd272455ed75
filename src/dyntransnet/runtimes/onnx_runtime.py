"""ONNX Runtime, on CUDA where its build and the machine have it, else on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime

from dyntransnet.contract import Contract
from dyntransnet.imaging.tiling import Predict

PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")


def load(path: Path, contract: Contract, precision: str = "fp32") -> Predict:
    """Open an ONNX file as a predictor, in the precision that the file has."""
    available = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(
        str(path), providers=[provider for provider in PREFERRED if provider in available]
    )

    def predict(windows: np.ndarray) -> np.ndarray:
        (logits,) = session.run([contract.output_name], {contract.input_name: windows})
        return np.asarray(logits)

    return predict
