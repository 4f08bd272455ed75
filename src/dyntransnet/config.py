"""params.yaml as frozen, typed sections; a bad key is named before any work starts.

There are no defaults here: params.yaml is the one place to look.
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)

from dyntransnet.errors import ParamsError

Axis = Literal["x", "y", "z"]


class Section(BaseModel):
    """A part of params.yaml; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IngestParams(Section):
    """Where the dataset is, and how its authors laid it out."""

    layout: Literal["phantom", "lits"]
    source: Path


class SplitParams(Section):
    """Which patients train, validate and test."""

    seed: NonNegativeInt
    folds: int = Field(ge=2)
    test_share: float = Field(ge=0, lt=1)
    test_cases: tuple[str, ...]
    same_patient: tuple[tuple[str, ...], ...]


class PreprocessParams(Section):
    """The grid and intensity range the network sees."""

    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    window_hu: tuple[float, float]

    @field_validator("window_hu")
    @classmethod
    def _low_below_high(cls, window: tuple[float, float]) -> tuple[float, float]:
        if window[0] >= window[1]:
            raise ValueError("low must be below high")
        return window


class NetworkParams(Section):
    """Which network, and what it changes in its preset."""

    name: str
    options: dict[str, Any]


class AugmentParams(Section):
    """How far a training window may differ from the scan it was cut from."""

    flip_axes: tuple[Axis, ...]
    rotation_deg: NonNegativeFloat
    scale: float = Field(ge=0, lt=1)
    intensity_shift: NonNegativeFloat
    intensity_scale: float = Field(ge=0, lt=1)
    noise: NonNegativeFloat


class TrainParams(Section):
    """One training run."""

    experiment: str
    seed: NonNegativeInt
    fold: NonNegativeInt | Literal["all"]
    steps: PositiveInt
    batch_size: PositiveInt
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    tumor_share: float = Field(ge=0, le=1)
    liver_share: float = Field(ge=0, le=1)
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    warmup_share: float = Field(ge=0, lt=1)
    gradient_clip: PositiveFloat
    ema_decay: float = Field(ge=0, lt=1)
    precision: Literal["fp32", "bf16"]
    channels_last: bool
    validate_every: PositiveInt
    overlap: float = Field(ge=0, lt=1)
    augment: AugmentParams


class EvaluateParams(Section):
    """How the test scans are segmented and shown."""

    figures: NonNegativeInt


class ExportParams(Section):
    """The ONNX file, and how closely it must agree with torch."""

    opset: int = Field(ge=17, le=22)
    windows: PositiveInt
    max_difference: PositiveFloat
    min_dice: float = Field(ge=0, le=1)


class RegisterParams(Section):
    """The gate between a trained model and the alias that is served."""

    model: str
    alias: str
    min_dice_liver: float = Field(ge=0, le=1)
    min_dice_tumor: float = Field(ge=0, le=1)
    max_dice_drop: float = Field(ge=0, le=1)


class PublishParams(Section):
    """How Triton runs the published network."""

    backend: Literal["python", "onnxruntime", "tensorrt"]
    runtime: Literal["onnxruntime", "openvino"]


class Params(Section):
    """All of params.yaml: one section per stage, and the network."""

    ingest: IngestParams
    split: SplitParams
    preprocess: PreprocessParams
    network: NetworkParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
    register_: RegisterParams = Field(alias="register")
    publish: PublishParams

    @classmethod
    def load(cls, path: Path = Path("params.yaml")) -> "Params":
        """Read and check params.yaml.

        Raises:
            ParamsError: the file is missing, is not YAML or breaks a rule; every
                broken rule is listed.
        """
        try:
            values = yaml.safe_load(path.read_bytes())
        except OSError as error:
            raise ParamsError(f"{path}: must be readable, got {error.strerror}") from error
        except yaml.YAMLError as error:
            raise ParamsError(
                f"{path}: must be YAML, got {' '.join(str(error).split())}"
            ) from error
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ParamsError(f"{path}: {_listed(error)}") from error


def _listed(error: ValidationError) -> str:
    """Every broken rule as ``where: rule, got value``."""
    return "; ".join(
        f"{'.'.join(map(str, found['loc'])) or 'the file'}: {_rule(found)}"
        for found in error.errors()
    )


def _rule(found: Any) -> str:
    if found["type"] == "extra_forbidden":
        return f"is not a known key, got {found['input']!r}"
    if found["type"] == "missing":
        return "must be given, got nothing"
    message = found["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}, got {found['input']!r}"
