"""Triton's model repository: model names, tensor names and config.pbtxt.

The client, the Python backends and ``publish`` all take them from here.
"""

import math
from collections.abc import Sequence

from dyntransnet.contract import Contract
from dyntransnet.errors import ParamsError

NETWORK = "dyntransnet"
"""Windows to logits; its backend is chosen when it is published."""

FRONT_DOOR = "liver_segmentation"
"""A whole scan to mask and report; calls ``NETWORK``."""

STREAM = "liver_segmentation_stream"
"""The same, telling of progress first."""

VERSION = "1"
"""The only version folder of the front doors, and the network's first."""

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

TIMEOUT = "timeout_s"
"""(1,) float64, optional: how long work on the scan may take, without its time in the queue."""

NETWORK_VERSION = "network_version"
"""(1,) string, optional: a version folder of ``NETWORK`` to ask; else what has the traffic."""

PROGRESS = "progress"
"""(2,) int32, of ``STREAM`` alone: windows done, and of how many."""

MASK = "mask"
"""(x, y, z) uint8."""

REPORT = "report"
"""(1,) string: JSON."""

PROBABILITIES = "probabilities"
"""(2, x, y, z) uint8 of liver and tumor, 255 for 1; made for whoever names it among the outputs."""

RUNTIME = "runtime"
"""Key of the network's config parameters: what runs it behind the Python backend."""

PRECISION = "precision"
"""Likewise: what that computes in."""

MAX_BATCH_SIZE = 8
"""Most windows in one call; the ONNX file and the TensorRT plan are built for it."""

WARM_VOXELS = 2**20
"""Of a scan's call: as many windows as ``imaging.tiling`` asks together."""

MAX_QUEUE_SIZE = 64
"""Calls that wait for the network. A scan has one under way, so that only callers of the network
itself can fill it."""

PLACES = {
    "python": "instance_group [ { kind: KIND_CPU count: 1 } ]",
    "onnxruntime": 'default_model_filename: "model.onnx"\n'
    "instance_group [ { kind: KIND_AUTO count: 1 } ]",
    "tensorrt": 'default_model_filename: "model.plan"\n'
    "instance_group [ { kind: KIND_GPU count: 1 } ]",
}
"""Backend to the lines that only it has."""

BATCHING = f"dynamic_batching {{ default_queue_policy {{ max_queue_size: {MAX_QUEUE_SIZE} }} }}"
"""Calls that wait are answered together, whoever made them; none is kept waiting for that."""


def network_config(
    contract: Contract,
    backend: str,
    *,
    runtime: str,
    precision: str = "fp32",
    versions: Sequence[int] = (int(VERSION),),
) -> str:
    """The network's config.pbtxt.

    Args:
        contract: names and sizes of the tensors.
        backend: a key of ``PLACES``.
        runtime: what the Python backend runs the network with; the others ignore it.
        precision: what that runtime computes in; the others ignore it.
        versions: folders that are loaded; an older one stays for scans that began with it.

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
        BATCHING,
        f"version_policy {{ specific {{ versions: {[*versions]} }} }}",
        *_warm_up(contract),
    ]
    if backend == "python":
        lines += [_parameter(RUNTIME, runtime), _parameter(PRECISION, precision)]
    return "\n".join(lines) + "\n"


def _warm_up(contract: Contract) -> list[str]:
    """Calls before a model is ready: the first of each size takes longer.

    One window, as many as a scan asks together, and what two scans ask together.
    """
    of_scan = max(1, min(MAX_BATCH_SIZE // 2, WARM_VOXELS // math.prod(contract.patch_size)))
    sizes = sorted({1, of_scan, 2 * of_scan})
    dims = ", ".join(map(str, (1, *contract.patch_size)))
    return [
        f'model_warmup {{ name: "{size}" batch_size: {size} inputs {{ '
        f'key: "{contract.input_name}" value {{ data_type: TYPE_FP32 dims: [ {dims} ] '
        "zero_data: true } } }"
        for size in sizes
    ]


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


def _tensor(role: str, name: str, dims: Sequence[int]) -> str:
    shown = ", ".join(map(str, dims))
    return f'{role} [ {{ name: "{name}" data_type: TYPE_FP32 dims: [ {shown} ] }} ]'
