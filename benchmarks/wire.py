"""A small request of the service as gRPC carries it: made, and read as the service reads it."""

import numpy as np
from scipy import ndimage
from tritonclient.grpc import service_pb2 as triton
from tritonclient.utils import deserialize_bytes_tensor

from dyntransnet import repository as names
from dyntransnet.imaging.presets import Preset
from dyntransnet.imaging.scan import Scan

Request = triton.ModelInferRequest
Chance = np.random.Generator

TYPES = {"INT16": np.int16, "FP32": np.float32, "FP64": np.float64}
CONTENTS = {"INT16": "int_contents", "FP32": "fp32_contents", "FP64": "fp64_contents"}
"""Where a tensor has its values itself, instead of behind all tensors."""


def valid_request(chance: Chance) -> Request:
    """A small scan with everything that may come along, the outputs named."""
    shape = tuple(int(edge) for edge in chance.integers((12, 14, 9), (22, 26, 17)))
    noise = ndimage.gaussian_filter(chance.standard_normal(shape), 2)
    values = 50 + 150 * noise / noise.std()
    affine = np.diag([*chance.uniform((1, 1, 2), (3, 3, 5)), 1.0])
    request = Request(model_name=names.FRONT_DOOR, id=f"m-{chance.integers(10**6)}")
    kind = "INT16" if chance.random() < 0.5 else "FP32"
    voxels = names.VOXELS if kind == "INT16" else names.VOXELS_FLOAT
    add_tensor(request, voxels, kind, np.rint(values).astype(TYPES[kind]))
    add_tensor(request, names.AFFINE, "FP64", affine)
    add_tensor(request, names.TIMEOUT, "FP64", np.array([5.0]))
    add_text(request, names.CASE, b"case")
    add_text(request, names.PRESET, [*Preset][chance.integers(2)].encode())
    for name in (names.MASK, names.REPORT):
        request.outputs.add(name=name)
    return request


def add_tensor(request: Request, name: str, kind: str, array: np.ndarray) -> None:
    """Numbers, x running slowest, as the protocol has them."""
    request.inputs.add(name=name, datatype=kind, shape=array.shape)
    request.raw_input_contents.append(array.tobytes())


def add_text(request: Request, name: str, *texts: bytes) -> None:
    """Strings, each after its length."""
    request.inputs.add(name=name, datatype="BYTES", shape=[len(texts)])
    raw = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    request.raw_input_contents.append(raw)


def meaning(message: bytes) -> tuple[Scan, Preset]:
    """What a request says, as far as it decides on the mask; values of no tensor say nothing.

    Raises:
        Exception: it says nothing that can be answered; of whatever kind reading it brings.
    """
    request = Request.FromString(message)
    raw = list(request.raw_input_contents)
    tensors = [(each, _values(each, raw)) for each in request.inputs]
    if len({each.name for each, _ in tensors}) < len(tensors):
        raise ValueError("two tensors of one name")
    found = {each.name: values for each, values in tensors}
    (voxels,) = (found[name] for name in (names.VOXELS, names.VOXELS_FLOAT) if name in found)
    preset = found[names.PRESET][0].decode() if names.PRESET in found else Preset.STANDARD
    return Scan("here", voxels, found[names.AFFINE]), Preset(preset or Preset.STANDARD)


def _values(tensor: Request.InferInputTensor, raw: list[bytes]) -> np.ndarray:
    """Taken from what comes after all tensors, or from the tensor itself."""
    if tensor.datatype == "BYTES":
        texts = deserialize_bytes_tensor(raw.pop(0)) if raw else tensor.contents.bytes_contents
        return np.array([*texts], np.object_).reshape(tensor.shape)
    kind = TYPES[tensor.datatype]
    if raw:
        return np.frombuffer(raw.pop(0), kind).reshape(tensor.shape)
    return np.array(getattr(tensor.contents, CONTENTS[tensor.datatype]), kind).reshape(tensor.shape)
