"""Load a model folder into the runtime and the precision that were asked for."""

import importlib
from pathlib import Path

from dyntransnet.contract import Contract
from dyntransnet.errors import ModelError
from dyntransnet.imaging.tiling import Predict
from dyntransnet.runtimes import openvino_files
from dyntransnet.runtimes.signed import signed

RUNTIMES = {
    "onnxruntime": "dyntransnet.runtimes.onnx_runtime",
    "openvino": "dyntransnet.runtimes.openvino_runtime",
}
"""Runtime to module; each has ``load(path, contract, precision) -> Predict``."""

PLANNED, PLANS = "tensorrt", "dyntransnet.runtimes.tensorrt_runtime"
"""The runtime that needs a plan and a GPU; by name, for no stage of the pipeline runs it."""

PRECISIONS = {"onnxruntime": ("fp32",), "openvino": openvino_files.PRECISIONS}
"""Runtime to what it can compute in."""


def load(folder: Path, runtime: str, precision: str = "fp32") -> tuple[Predict, Contract]:
    """Load the network and ``contract.json`` of a model folder.

    Args:
        folder: what ``export`` or ``publish`` wrote.
        runtime: a key of ``RUNTIMES``, or ``PLANNED``, whose precision is the plan's.
        precision: one of the runtime's ``PRECISIONS``.

    Returns:
        The network, and how to feed it.

    Raises:
        ModelError: a file is missing or damaged, or the runtime or precision is unknown,
            not installed or unable to read the file.
    """
    if runtime == PLANNED:
        planned: tuple[Predict, Contract] = importlib.import_module(PLANS).load(folder)
        return planned
    path, contract = signed(folder)
    if runtime not in RUNTIMES:
        raise ModelError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime}")
    if precision not in PRECISIONS[runtime]:
        known = ", ".join(PRECISIONS[runtime])
        raise ModelError(f"precision of {runtime} must be one of {known}, got {precision}")
    if runtime == "openvino":
        path = openvino_files.find(folder, contract, precision)
    try:
        module = importlib.import_module(RUNTIMES[runtime])
    except ImportError as error:
        raise ModelError(
            f"runtime {runtime} must be installed (pip install 'dyntransnet[runtime]'), got {error}"
        ) from error
    try:
        predict: Predict = module.load(path, contract, precision)
    except Exception as error:  # each runtime raises exceptions of its own
        raise ModelError(
            f"{path}: must be readable by {runtime}, got {' '.join(str(error).split())}"
        ) from error
    return predict, contract
