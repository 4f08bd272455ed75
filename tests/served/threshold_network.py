"""A small network whose answer is known, its contract, and scans to try it on."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from scipy import ndimage

from dyntransnet.atomic import sha256_of
from dyntransnet.contract import Contract, IntensityWindow, NetworkSpec
from dyntransnet.imaging.scan import Scan

EDGE = 32


def threshold_network() -> onnx.ModelProto:
    """logits = 8 * (image - 0.1) for liver; for tumor the lower of that and 8 * (0.35 - image)."""
    shape = [EDGE, EDGE, EDGE]
    constants = {"low": 0.1, "high": 0.35, "slope": 8.0}
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["image", "low"], ["above"]),
            helper.make_node("Sub", ["high", "image"], ["below"]),
            helper.make_node("Min", ["above", "below"], ["between"]),
            helper.make_node("Concat", ["above", "between"], ["both"], axis=1),
            helper.make_node("Mul", ["both", "slope"], ["logits"]),
        ],
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2, *shape])],
        [
            helper.make_tensor(name, TensorProto.FLOAT, [1], [value])
            for name, value in constants.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def contract_of(model: Path) -> Contract:
    return Contract(
        network=NetworkSpec(name="threshold", options={}),
        spacing_mm=(3.0, 3.0, 3.0),
        patch_size=(EDGE, EDGE, EDGE),
        intensity=IntensityWindow(low_hu=-200, high_hu=300),
        overlap=0.5,
        manifest_sha256="0" * 64,
        model_sha256=sha256_of(model),
    )


def blobs(shape: tuple[int, int, int], *, seed: int) -> np.ndarray:
    """Smooth random Hounsfield units, x contiguous as in a file."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, 3)
    return np.asfortranarray(np.round(50 + 150 * smooth / smooth.std()).astype(np.int16))


def scan_of(shape: tuple[int, int, int], *, seed: int = 0) -> Scan:
    return Scan(f"blobs{seed}", blobs(shape, seed=seed), np.diag([2.0, 1.5, 4.0, 1.0]))
