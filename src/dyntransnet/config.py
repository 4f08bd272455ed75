"""params.yaml as frozen, typed sections; a bad key is named before any work starts.

There are no defaults here: params.yaml is the one place to look.
"""

from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

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
    model_validator,
)

from dyntransnet.contract import IntensityRule, Modality, NetworkSpec
from dyntransnet.errors import ParamsError

PARAMS_FILE = Path("params.yaml")

Axis = Literal["x", "y", "z"]


class Section(BaseModel):
    """A part of params.yaml; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Known = TypeVar("Known", bound=Section)


class LabelParams(Section):
    """Which voxel values of a dataset's masks are liver and tumor; 0 is background."""

    liver: tuple[PositiveInt, ...]
    tumor: tuple[PositiveInt, ...]
    others: Literal["refused", "background"]

    @model_validator(mode="after")
    def _apart(self) -> "LabelParams":
        if both := sorted({*self.liver} & {*self.tumor}):
            raise ValueError(f"liver and tumor must not share a value, got {both[0]} in both")
        return self


class IngestParams(Section):
    """Where the dataset is, what it shows, and how its authors laid it out."""

    layout: Literal["auto", "phantom", "lits", "msd", "atlas", "plain", "dicom"]
    source: Path
    modality: Modality
    labels: LabelParams
    on_problem: Literal["stop", "quarantine"]


class SplitParams(Section):
    """Which patients train, validate and test."""

    file: Path | None
    seed: NonNegativeInt
    folds: int = Field(ge=2)
    fold_cases: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...]
    test_share: float = Field(ge=0, lt=1)
    test_cases: tuple[str, ...]
    same_patient: tuple[tuple[str, ...], ...]


class PreprocessParams(Section):
    """The grid and the intensities the network sees."""

    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    intensity: IntensityRule


class LesionParams(Section):
    """Synthetic lesions in training windows; ``contrast`` is added to network input."""

    share: float = Field(ge=0, le=1)
    most: PositiveInt
    radius_mm: tuple[PositiveFloat, PositiveFloat]
    contrast: tuple[float, float]

    @field_validator("radius_mm", "contrast")
    @classmethod
    def _low_to_high(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if ends[0] > ends[1]:
            raise ValueError("low must not be above high")
        return ends


class AugmentParams(Section):
    """How far a training window may differ from the scan it was cut from."""

    flip_axes: tuple[Axis, ...]
    rotation_deg: NonNegativeFloat
    scale: float = Field(ge=0, lt=1)
    elastic_mm: NonNegativeFloat
    thick_slices: float = Field(ge=0, le=1)
    slice_mm: PositiveFloat
    intensity_shift: NonNegativeFloat
    intensity_scale: float = Field(ge=0, lt=1)
    noise: NonNegativeFloat
    lesions: LesionParams


class TrainParams(Section):
    """One training run."""

    experiment: str
    seed: NonNegativeInt
    fold: NonNegativeInt | Literal["all"]
    steps: PositiveInt | None
    budget_minutes: PositiveFloat | None
    batch_size: PositiveInt
    accumulate: PositiveInt
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    tile_size: tuple[PositiveInt, PositiveInt, PositiveInt] | None
    wide_share: float = Field(ge=0, le=1)
    tumor_share: float = Field(ge=0, le=1)
    liver_share: float = Field(ge=0, le=1)
    loss: Literal["dice_bce", "dice_focal", "dice", "dice_tversky"]
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    warmup_share: float = Field(ge=0, lt=1)
    gradient_clip: PositiveFloat
    ema_decay: float = Field(ge=0, lt=1)
    precision: Literal["fp32", "bf16", "fp16"]
    channels_last: bool
    recompute: bool
    compile: bool
    save_every: PositiveInt
    validate_every: PositiveInt
    validate_cases: PositiveInt | None
    keep: Literal["best", "last"]
    patience: NonNegativeInt
    overlap: float = Field(ge=0, lt=1)
    augment: AugmentParams

    @model_validator(mode="after")
    def _one_length(self) -> "TrainParams":
        if (self.steps is None) == (self.budget_minutes is None):
            raise ValueError("one of steps and budget_minutes must be given")
        return self

    @property
    def tile(self) -> tuple[int, int, int]:
        """Voxels of a window in inference."""
        return self.tile_size or self.patch_size

    @property
    def wide_count(self) -> int:
        """Windows of a batch that is cut as inference sees: no more voxels than in any other."""
        return max(1, self.batch_size * prod(self.patch_size) // prod(self.tile))


class EvaluateParams(Section):
    """How held-out scans are scored and shown."""

    figures: NonNegativeInt
    nsd_mm: dict[Literal["liver", "tumor"], PositiveFloat]

    @field_validator("nsd_mm")
    @classmethod
    def _both_classes(cls, tolerances: dict[str, float]) -> dict[str, float]:
        if len(tolerances) < 2:
            raise ValueError("liver and tumor must both be given")
        return tolerances


class TableParams(Section):
    """One table of a study: its rows, and the row the others are tested against.

    ``reported`` names the rows of the paper that stand beside some of ours.
    """

    title: str
    variants: tuple[str, ...]
    baseline: str
    reported: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rows_are_there(self) -> "TableParams":
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variants must differ")
        if absent := sorted({self.baseline, *self.reported} - set(self.variants)):
            raise ValueError(f"baseline and reported must be variants, not {', '.join(absent)}")
        return self


class CompareParams(Section):
    """How the variants of a study are compared."""

    seed: NonNegativeInt
    draws: PositiveInt
    confidence: float = Field(gt=0, lt=1)
    tables: dict[str, TableParams]


class LimitParams(Section):
    """How far one precision may lie from torch in fp32."""

    relative_difference: PositiveFloat
    min_dice: float = Field(ge=0, le=1)
    max_dice_change: NonNegativeFloat


class ExportParams(Section):
    """The forms of the network that are served, and how closely each must agree with torch."""

    opset: int = Field(ge=17, le=22)
    openvino: tuple[Literal["fp32", "bf16", "int8"], ...]
    calibration: PositiveInt
    windows: PositiveInt
    scans: NonNegativeInt
    limits: dict[Literal["fp32", "fp16", "bf16", "int8"], LimitParams]

    @model_validator(mode="after")
    def _limited(self) -> "ExportParams":
        if free := {"fp32", *self.openvino} - set(self.limits):
            raise ValueError(f"limits must name every precision, got none for {min(free)}")
        return self


class MarginParams(Section):
    """How far the Dice of each class may fall."""

    liver: float = Field(ge=0, le=1)
    tumor: float = Field(ge=0, le=1)


class RegisterParams(Section):
    """The gate between a trained model and the alias that is served."""

    model: str
    alias: str
    min_dice_liver: float = Field(ge=0, le=1)
    min_dice_tumor: float = Field(ge=0, le=1)
    margin: MarginParams
    confidence: float = Field(gt=0.5, lt=1)
    max_slowdown: float = Field(ge=1)


class PublishParams(Section):
    """How Triton runs the published network."""

    backend: Literal["python", "onnxruntime", "tensorrt"]
    runtime: Literal["onnxruntime", "openvino"]
    precision: Literal["fp32", "bf16", "int8"]

    @model_validator(mode="after")
    def _runs(self) -> "PublishParams":
        if self.precision != "fp32" and (self.backend, self.runtime) != ("python", "openvino"):
            raise ValueError(
                f"precision must be fp32 but for openvino in the python backend, got "
                f"{self.precision}"
            )
        return self


class Pipeline(Section):
    """The sections from data to a scored network."""

    ingest: IngestParams
    split: SplitParams
    preprocess: PreprocessParams
    train: TrainParams
    evaluate: EvaluateParams

    @model_validator(mode="after")
    def _rule_fits_scans(self) -> "Pipeline":
        rule = self.preprocess.intensity
        if rule.modality != self.ingest.modality:
            raise ValueError(
                f"preprocess.intensity must be a rule for {self.ingest.modality} "
                f"(ingest.modality), got {rule.kind}, which is for {rule.modality}"
            )
        return self


class Params(Pipeline):
    """All of params.yaml: one section per stage, and the network."""

    network: NetworkSpec
    export: ExportParams
    register_: RegisterParams = Field(alias="register")
    publish: PublishParams

    @model_validator(mode="after")
    def _published_is_exported(self) -> "Params":
        made = ("fp32", *self.export.openvino)
        if self.publish.precision not in made:
            raise ValueError(
                f"publish.precision must be fp32 or in export.openvino, got "
                f"{self.publish.precision} and {', '.join(self.export.openvino) or 'none'}"
            )
        return self

    @classmethod
    def load(cls, path: Path = PARAMS_FILE) -> "Params":
        """Read and check params.yaml.

        Raises:
            ParamsError: the file is missing, is not YAML or breaks a rule; every
                broken rule is listed.
        """
        return checked(cls, read_yaml(path), path)


def read_yaml(path: Path) -> Any:
    """A YAML file's values.

    Raises:
        ParamsError: the file is missing or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ParamsError(f"{path}: must be readable, got {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: must be YAML, got {' '.join(str(error).split())}") from error


def checked(kind: type[Known], values: Any, path: Path) -> Known:
    """Values as a typed section.

    Raises:
        ParamsError: they break a rule; every broken one is listed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ParamsError(f"{path}: {listed(error)}") from error


def listed(error: ValidationError) -> str:
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
    rule = f"{message[0].lower()}{message[1:]}"
    # A rule about a whole section has named what it found.
    return rule if isinstance(found["input"], dict) else f"{rule}, got {found['input']!r}"
