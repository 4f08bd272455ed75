"""Small ONNX networks whose masks are known, as model folders."""

import shutil
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from builders import contract_of
from dyntransnet.atomic import sha256_of
from dyntransnet.contract import ONNX_FILE, Contract

MODEL_REPOSITORY = Path(__file__).parents[1] / "model_repository"


def copy_repository(target: Path) -> Path:
    """The model repository as it is in git: what `make demo` published stays behind."""
    published = shutil.ignore_patterns("[2-9]*", "*.json", "*.onnx", "openvino", "__pycache__")
    return shutil.copytree(MODEL_REPOSITORY, target, ignore=published)


def threshold_model(
    low: float, high: float, *, patch_size: tuple[int, int, int] = (16, 16, 16)
) -> onnx.ModelProto:
    """Liver where the image is at least ``low``, and tumor there where it is at least ``high``."""
    cuts = helper.make_tensor("cuts", TensorProto.FLOAT, [1, 2, 1, 1, 1], [low, high])
    graph = helper.make_graph(
        [helper.make_node("Sub", ["image", "cuts"], ["logits"])],
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, *patch_size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2, *patch_size])],
        [cuts],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def save_model(folder: Path, model: onnx.ModelProto, **changes) -> Contract:
    """Write a model folder as ``export`` does."""
    folder.mkdir(parents=True, exist_ok=True)
    # Not the order onnx.save would choose: whoever writes the graph anew changes the bytes.
    last = onnx.ModelProto(producer_name="made").SerializeToString()
    (folder / ONNX_FILE).write_bytes(model.SerializeToString() + last)
    contract = contract_of(**{"model_sha256": sha256_of(folder / ONNX_FILE)} | changes)
    contract.save(folder)
    return contract


def flip_a_bit(path: Path) -> None:
    """Damage a file without changing its length."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
