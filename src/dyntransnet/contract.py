"""What a trained model promises: grid, intensity rule, classes, tensor names, hashes.

``contract.json`` travels with the weights from checkpoint to registry, ONNX and
model repository. Evaluation and serving prepare scans from it alone.
"""

from enum import IntEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from dyntransnet.atomic import new_file
from dyntransnet.errors import ModelError

CONTRACT_FILE = "contract.json"
ONNX_FILE = "model.onnx"


class Label(IntEnum):
    """Voxel values of a mask, as LiTS, MSD and ATLAS use them."""

    BACKGROUND = 0
    LIVER = 1
    TUMOR = 2


class Promise(BaseModel):
    """A frozen part of the contract; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IntensityWindow(Promise):
    """CT rule: clip Hounsfield units to a window, then map it to [-1, 1]."""

    kind: Literal["window"] = "window"
    low_hu: float
    high_hu: float

    @model_validator(mode="after")
    def _low_below_high(self) -> "IntensityWindow":
        if self.low_hu >= self.high_hu:
            raise ValueError(f"low must be below high, got {self.low_hu:g} and {self.high_hu:g}")
        return self


class NetworkSpec(Promise):
    """Which network, and the options it was built with."""

    name: str
    options: dict[str, Any]


class Contract(Promise):
    """The promise itself.

    Attributes:
        version: of this format.
        network: what to build before the weights are loaded.
        modality: the kind of scan the model was trained on.
        spacing_mm: voxel edges of the network's grid, RAS axis order.
        patch_size: voxels of one window, RAS axis order.
        intensity: how voxel values become network input.
        classes: one sigmoid channel each; "liver" is the whole liver, tumor included.
        overlap: share of a window's edge that neighbors share, in [0, 1).
        threshold: probability from which a voxel belongs to a class.
        input_name: tensor (n, 1, x, y, z) float32.
        output_name: tensor (n, classes, x, y, z) float32.
        manifest_sha256: the dataset manifest the model was trained from.
        model_sha256: the weights or ONNX file beside the contract.
    """

    version: Literal[1] = 1
    network: NetworkSpec
    modality: Literal["CT"] = "CT"
    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    intensity: IntensityWindow
    classes: tuple[Literal["liver"], Literal["tumor"]] = ("liver", "tumor")
    overlap: float = Field(ge=0, lt=1)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    input_name: str = "image"
    output_name: str = "logits"
    manifest_sha256: str
    model_sha256: str

    @classmethod
    def load(cls, folder: Path) -> "Contract":
        """Read the contract of a model folder.

        Raises:
            ModelError: there is none, or it breaks a rule.
        """
        path = folder / CONTRACT_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ModelError(
                f"{folder}: must hold {CONTRACT_FILE}, got {error.strerror}"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise ModelError(f"{path}: {where} is not valid, {first['msg']}") from error

    def save(self, folder: Path) -> None:
        """Write ``contract.json`` into a model folder."""
        with new_file(folder / CONTRACT_FILE) as path:
            path.write_text(self.model_dump_json(indent=2) + "\n")
