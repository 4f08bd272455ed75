"""The network in OpenVINO's own form, beside the ONNX file that it was made from.

``openvino/`` in a model folder holds ``<precision>.xml`` and ``.bin`` for each precision, and
``openvino.json``, which knows the ONNX file and each of these by its hash. Reading that takes no
OpenVINO.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dyntransnet.atomic import sha256_of
from dyntransnet.contract import ONNX_FILE, Contract, broken_rule
from dyntransnet.errors import ModelError

FOLDER, NOTE_FILE = "openvino", "openvino.json"
PRECISIONS = ("fp32", "bf16", "int8")


class Note(BaseModel):
    """What openvino.json says.

    Attributes:
        openvino: the version that made the files.
        nncf: the version that quantized; None where nothing is quantized.
        onnx_sha256: of the ONNX file they were made from.
        files: name to sha256.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    openvino: str
    nncf: str | None
    onnx_sha256: str
    files: dict[str, str]


def files_of(precision: str) -> tuple[str, str]:
    """Graph and weights."""
    return f"{precision}.xml", f"{precision}.bin"


def find(model: Path, contract: Contract, precision: str) -> Path:
    """The file that OpenVINO loads for a precision, after its hash was checked.

    Args:
        model: a model folder; its ONNX file fits the contract.
        contract: of that folder.
        precision: one of ``PRECISIONS``. The ONNX file itself is what fp32 loads in a
            folder that holds nothing made for OpenVINO.

    Raises:
        ModelError: the precision is not there, or its files are damaged or of another
            ONNX file.
    """
    folder = model / FOLDER
    if precision == "fp32" and not (folder / files_of(precision)[0]).is_file():
        return model / ONNX_FILE
    note = read_note(folder)
    if note.onnx_sha256 != contract.model_sha256:
        raise ModelError(
            f"{folder}: must be made from the ONNX file with sha256 {contract.model_sha256}, "
            f"got {note.onnx_sha256}"
        )
    for name in files_of(precision):
        if name not in note.files:
            made = ", ".join(sorted({Path(file).stem for file in note.files})) or "nothing"
            raise ModelError(f"{folder}: must hold {name} (export.openvino), got {made} alone")
        found = sha256_of(folder / name) if (folder / name).is_file() else "no file"
        if found != note.files[name]:
            raise ModelError(f"{folder / name}: sha256 must be {note.files[name]}, got {found}")
    return folder / files_of(precision)[0]


def read_note(folder: Path) -> Note:
    """What the files of a folder were made of and with.

    Raises:
        ModelError: the folder has no openvino.json, or it is something else.
    """
    path = folder / NOTE_FILE
    try:
        return Note.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{folder}: must hold {NOTE_FILE}, got {error.strerror}") from error
    except ValidationError as error:
        raise ModelError(f"{path}: {broken_rule(error)}") from error
