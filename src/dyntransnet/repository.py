"""Triton's model repository: model names, tensor names and config.pbtxt.

The client, the Python backends and ``publish`` all take them from here.
"""

from collections.abc import Sequence

from dyntransnet.contract import Contract
from dyntransnet.errors import ParamsError

NETWORK = "dyntransnet"
"""Windows to logits; its backend is chosen when it is published."""

FRONT_DOOR = "liver_segmentation"
"""A whole scan to mask and report; calls ``NETWORK``."""

VERSION = "1"
"""The version folder of both models; history is the registry's affair."""

CONFIG_FILE = "config.pbtxt"

VOXELS = "voxels"
"""(x, y, z) int16; a request has either this or ``VOXELS_FLOAT``."""

VOXELS_FLOAT = "voxels_float"
"""(x, y, z) float32."""

AFFINE = "affine"
"""(4, 4) float64, voxel index to RAS+ millimeters."""

CASE = "case"
"""(1,) string, optional: the name used in error messages."""

PRESET = "preset"
"""(1,) string, optional: a value of ``imaging.presets.Preset``; standard without it."""

MASK = "mask"
"""(x, y, z) uint8."""

REPORT = "report"
"""(1,) string: JSON."""

RUNTIME = "runtime"
"""Key of the network's config parameters: what runs it behind the Python backend."""

PRECISION = "precision"
"""Likewise: what that computes in."""

MAX_BATCH_SIZE = 8
"""Most windows in one call; the ONNX file and the TensorRT plan are built for it."""

PLACES = {
    "python": "instance_group [ { kind: KIND_CPU count: 1 } ]",
    "onnxruntime": 'default_model_filename: "model.onnx"\n'
    "instance_group [ { kind: KIND_AUTO count: 1 } ]\n"
    "dynamic_batching { }",
    "tensorrt": 'default_model_filename: "model.plan"\n'
    "instance_group [ { kind: KIND_GPU count: 1 } ]\n"
    "dynamic_batching { }",
}
"""Backend to the lines that only it has. The Python backend takes windows one request
at a time, so batching across requests would gain it nothing."""


def network_config(
    contract: Contract, backend: str, *, runtime: str, precision: str = "fp32"
) -> str:
    """The network's config.pbtxt.

    Args:
        contract: names and sizes of the tensors.
        backend: a key of ``PLACES``.
        runtime: what the Python backend runs the network with; the others ignore it.
        precision: what that runtime computes in; the others ignore it.

    Raises:
        ParamsError: there is no such backend.
    """
    if backend not in PLACES:
        raise ParamsError(f"publish.backend must be one of {', '.join(PLACES)}, got {backend}")
    lines = [
        f'name: "{NETWORK}"',
        f'backend: "{backend}"',
        f"max_batch_size: {MAX_BATCH_SIZE}",
        _tensor("input", contract.input_name, (1, *contract.patch_size)),
        _tensor("output", contract.output_name, (len(contract.classes), *contract.patch_size)),
        PLACES[backend],
    ]
    if backend == "python":
        lines += [_parameter(RUNTIME, runtime), _parameter(PRECISION, precision)]
    return "\n".join(lines) + "\n"


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


def _tensor(role: str, name: str, dims: Sequence[int]) -> str:
    shown = ", ".join(map(str, dims))
    return f'{role} [ {{ name: "{name}" data_type: TYPE_FP32 dims: [ {shown} ] }} ]'
