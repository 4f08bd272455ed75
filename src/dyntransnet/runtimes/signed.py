"""The files of a model folder that every runtime starts from."""

from pathlib import Path

from dyntransnet.atomic import sha256_of
from dyntransnet.contract import ONNX_FILE, Contract
from dyntransnet.errors import ModelError


def signed(folder: Path) -> tuple[Path, Contract]:
    """The ONNX file of a model folder, and the contract that was signed for it.

    Raises:
        ModelError: a file is missing, or the contract was signed for another.
    """
    contract = Contract.load(folder)
    path = folder / ONNX_FILE
    if not path.is_file():
        raise ModelError(f"{folder}: must hold {ONNX_FILE}, got none")
    if (found := sha256_of(path)) != contract.model_sha256:
        raise ModelError(f"{path}: sha256 must be {contract.model_sha256}, got {found}")
    return path, contract
