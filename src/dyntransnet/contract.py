"""What a trained model promises: grid, intensity rule, classes, tensor names, hashes.

``contract.json`` travels with the weights from checkpoint to registry, ONNX and
model repository. Evaluation and serving prepare scans from it alone.
"""

from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from dyntransnet.atomic import new_file
from dyntransnet.errors import ModelError

CONTRACT_FILE = "contract.json"
ONNX_FILE = "model.onnx"
FINGERPRINT_FILE = "fingerprint.json"
"""Of the dataset that a model learned from; models made by hand have none."""

Modality = Literal["CT", "MR"]


def broken_rule(error: ValidationError) -> str:
    """The first rule that a file breaks: where in it, and how."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    return f"{where} is not valid, {first['msg']}"


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

    modality: ClassVar[Modality] = "CT"

    kind: Literal["window"] = "window"
    low_hu: float
    high_hu: float

    @model_validator(mode="after")
    def _low_below_high(self) -> "IntensityWindow":
        if self.low_hu >= self.high_hu:
            raise ValueError(f"low must be below high, got {self.low_hu:g} and {self.high_hu:g}")
        return self


class IntensityZScore(Promise):
    """MRI rule: each scan by the mean and standard deviation of its own body.

    Attributes:
        percentiles: of the body's voxels; values beyond are clipped first. [0, 100] clips
            nothing within the body.
        deviations: how many standard deviations from the mean become 1 and -1; what
            lies farther is clipped.
    """

    modality: ClassVar[Modality] = "MR"

    kind: Literal["zscore"] = "zscore"
    percentiles: tuple[float, float]
    deviations: PositiveFloat

    @field_validator("percentiles")
    @classmethod
    def _rise(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= ends[0] < ends[1] <= 100:
            raise ValueError("percentiles must rise within 0 and 100")
        return ends


def _kind(rule: Any) -> Any:
    """A rule without a kind is a window: the first contracts knew no other."""
    kind = rule.get("kind", "window") if isinstance(rule, dict) else getattr(rule, "kind", None)
    return kind if isinstance(kind, str) else None


IntensityRule = Annotated[
    Annotated[IntensityWindow, Tag("window")] | Annotated[IntensityZScore, Tag("zscore")],
    Discriminator(_kind),
]
"""How voxel values become network input."""


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
        mirrored_axes: along which training mirrored its windows.
        threshold: probability from which a voxel belongs to a class.
        input_name: tensor (n, 1, x, y, z) float32.
        output_name: tensor (n, classes, x, y, z) float32.
        manifest_sha256: the dataset manifest the model was trained from.
        model_sha256: the weights or ONNX file beside the contract.
    """

    version: Literal[1] = 1
    network: NetworkSpec
    modality: Modality = "CT"
    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    intensity: IntensityRule
    classes: tuple[Literal["liver"], Literal["tumor"]] = ("liver", "tumor")
    overlap: float = Field(ge=0, lt=1)
    mirrored_axes: tuple[Literal["x", "y", "z"], ...] = ()
    threshold: float = Field(default=0.5, gt=0, lt=1)
    input_name: str = "image"
    output_name: str = "logits"
    manifest_sha256: str
    model_sha256: str

    @model_validator(mode="after")
    def _rule_fits_modality(self) -> "Contract":
        if self.modality != self.intensity.modality:
            raise ValueError(
                f"modality must be {self.intensity.modality} for intensity "
                f"{self.intensity.kind}, got {self.modality}"
            )
        return self

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
            raise ModelError(f"{path}: {broken_rule(error)}") from error

    def save(self, folder: Path) -> None:
        """Write ``contract.json`` into a model folder."""
        with new_file(folder / CONTRACT_FILE) as path:
            path.write_text(self.model_dump_json(indent=2) + "\n")
