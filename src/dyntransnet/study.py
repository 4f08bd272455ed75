"""A study's params.yaml: many networks, trained and judged the same way.

It has the sections of the pipeline's, and says what each variant changes in them.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, ValidationError, model_validator

from dyntransnet.config import (
    PARAMS_FILE,
    CompareParams,
    Params,
    Pipeline,
    Section,
    TrainParams,
    checked,
    listed,
    read_yaml,
)
from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import ParamsError


class Variant(Section):
    """One network of a study, and what its training changes in the section train."""

    network: NetworkSpec
    train: dict[str, Any] = Field(default_factory=dict)


class Study(Pipeline):
    """Which variants are trained with which seeds on which folds."""

    study: str
    variants: dict[str, Variant]
    chosen: tuple[str, ...]
    seeds: tuple[NonNegativeInt, ...]
    folds: tuple[NonNegativeInt, ...]
    compare: CompareParams

    @model_validator(mode="after")
    def _variants_fit(self) -> "Study":
        if unknown := sorted({*self.chosen} - {*self.variants}):
            raise ValueError(f"chosen must name variants, got {', '.join(unknown)}")
        for name in self.variants:
            try:
                self.training(name, seed=0, fold=0)
            except ValidationError as error:
                raise ValueError(f"variants.{name}.train: {listed(error)}") from error
        return self

    def training(self, variant: str, *, seed: int, fold: int) -> tuple[NetworkSpec, TrainParams]:
        """What one training of the study is.

        Raises:
            ParamsError: there is no such variant.
        """
        if variant not in self.variants:
            raise ParamsError(f"variant must be one of {', '.join(self.variants)}, got {variant!r}")
        chosen = self.variants[variant]
        values = {**self.train.model_dump(), **chosen.train, "seed": seed, "fold": fold}
        return chosen.network, TrainParams.model_validate(values)


def load(path: Path = PARAMS_FILE) -> Params | Study:
    """Read the params.yaml of the pipeline, or of a study: that one has variants.

    Raises:
        ParamsError: the file is missing, is not YAML or breaks a rule.
    """
    values = read_yaml(path)
    is_study = isinstance(values, dict) and "variants" in values
    return checked(Study, values, path) if is_study else checked(Params, values, path)


def load_study(path: Path = PARAMS_FILE) -> Study:
    """Read a study's params.yaml.

    Raises:
        ParamsError: it is missing, breaks a rule or is not a study's.
    """
    return checked(Study, read_yaml(path), path)
