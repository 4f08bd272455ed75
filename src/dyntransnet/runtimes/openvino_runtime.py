"""OpenVINO on the CPU, in fp32."""

from pathlib import Path

import numpy as np
import openvino

from dyntransnet.contract import Contract
from dyntransnet.imaging.tiling import Predict


def load(path: Path, contract: Contract) -> Predict:
    """Compile an ONNX file as a predictor."""
    # fp32 is asked for: on CPUs with bf16 units OpenVINO would choose bf16 by itself.
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def predict(windows: np.ndarray) -> np.ndarray:
        # The result lives in a buffer that the next call overwrites.
        return np.array(compiled({contract.input_name: windows})[contract.output_name])

    return predict
