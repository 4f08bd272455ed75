"""Load a model folder into the runtime that was asked for."""

import importlib
from pathlib import Path

from dyntransnet.atomic import sha256_of
from dyntransnet.contract import ONNX_FILE, Contract
from dyntransnet.errors import ModelError
from dyntransnet.imaging.tiling import Predict

RUNTIMES = {
    "onnxruntime": "dyntransnet.runtimes.onnx_runtime",
    "openvino": "dyntransnet.runtimes.openvino_runtime",
}
"""Runtime to module; each has ``load(path, contract) -> Predict``."""


def load(folder: Path, runtime: str) -> tuple[Predict, Contract]:
    """Load ``model.onnx`` and ``contract.json`` of a model folder.

    Args:
        folder: what ``export`` or ``publish`` wrote.
        runtime: a key of ``RUNTIMES``.

    Returns:
        The network, and how to feed it.

    Raises:
        ModelError: a file is missing or damaged, or the runtime is unknown, not
            installed or unable to read the file.
    """
    if runtime == "tensorrt":  # needs a plan beside the ONNX file, and a GPU
        planned = importlib.import_module("dyntransnet.runtimes.tensorrt_runtime")
        return planned.load(folder)
    contract = Contract.load(folder)
    path = folder / ONNX_FILE
    if not path.is_file():
        raise ModelError(f"{folder}: must hold {ONNX_FILE}, got none")
    if (found := sha256_of(path)) != contract.model_sha256:
        raise ModelError(f"{path}: sha256 must be {contract.model_sha256}, got {found}")
    if runtime not in RUNTIMES:
        raise ModelError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime}")
    try:
        module = importlib.import_module(RUNTIMES[runtime])
    except ImportError as error:
        raise ModelError(
            f"runtime {runtime} must be installed (pip install 'dyntransnet[runtime]'), got {error}"
        ) from error
    try:
        predict: Predict = module.load(path, contract)
    except Exception as error:  # each runtime raises exceptions of its own
        raise ModelError(
            f"{path}: must be readable by {runtime}, got {' '.join(str(error).split())}"
        ) from error
    return predict, contract
