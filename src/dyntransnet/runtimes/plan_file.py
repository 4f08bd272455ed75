"""A TensorRT plan on disk, and the record beside it of what it was built from and for.

A plan runs only where it was built for, and gives the masks of one ONNX file alone. Nothing
in the plan says so in words, so the record does, and is checked before a plan is loaded.
"""

from pathlib import Path
from typing import Literal

from pydantic import PositiveInt, ValidationError, model_validator

from dyntransnet.atomic import new_file, sha256_of
from dyntransnet.contract import Contract, Promise, broken_rule
from dyntransnet.errors import EngineError, ModelError

PLAN_FILE = "model.plan"
RECORD_FILE = "plan.json"
WEIGHTS_FILE = "weights.onnx"
"""The graph that was built, kept beside a plan that was stripped of its weights."""

Target = Literal["tensorrt", "tensorrt-rtx"]
Precision = Literal["fp32", "fp16", "bf16"]


class Gpu(Promise):
    """A graphics card as its driver names it.

    Attributes:
        name: of the model.
        compute_capability: as one number, 89 for 8.9.
        driver: version.
    """

    name: str
    compute_capability: PositiveInt
    driver: str

    def __str__(self) -> str:
        """Name and compute capability."""
        return f"{self.name} ({self.compute_capability})"


class PlanRecord(Promise):
    """What a plan was built from, with and for.

    Attributes:
        version: of this format.
        target: the toolkit that built it and runs it.
        toolkit_version: of that toolkit.
        gpu: where it was built; None for TensorRT for RTX, which needs none.
        compute_capabilities: what it runs on.
        precision: of the heavy work.
        batch: most windows in one call.
        version_compatible: whether later versions of the same major version run it too.
        stripped: whether its weights are in ``WEIGHTS_FILE`` instead.
        onnx_sha256: the fp32 model, as its contract names it.
        graph_sha256: what the toolkit was given; the same file where the precision is fp32.
        plan_sha256: the plan itself.
    """

    version: Literal[1] = 1
    target: Target
    toolkit_version: str
    gpu: Gpu | None
    compute_capabilities: tuple[PositiveInt, ...]
    precision: Precision
    batch: PositiveInt
    version_compatible: bool
    stripped: bool
    onnx_sha256: str
    graph_sha256: str
    plan_sha256: str

    @model_validator(mode="after")
    def _tensorrt_has_a_gpu(self) -> "PlanRecord":
        if (self.gpu is None) == (self.target == "tensorrt"):
            raise ValueError("gpu must be given for tensorrt, and for tensorrt alone")
        return self

    @classmethod
    def load(cls, folder: Path) -> "PlanRecord":
        """Read the record of an engine folder.

        Raises:
            EngineError: there is none, or it breaks a rule.
        """
        path = folder / RECORD_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise EngineError(
                f"{folder}: must hold {PLAN_FILE} and {RECORD_FILE} "
                f"(dyntransnet build-engine makes them), got {error.strerror}"
            ) from error
        except ValidationError as error:
            raise EngineError(f"{path}: {broken_rule(error)}") from error

    def save(self, folder: Path) -> None:
        """Write ``plan.json`` into an engine folder."""
        with new_file(folder / RECORD_FILE) as path:
            path.write_text(self.model_dump_json(indent=2) + "\n")

    def check_files(self, folder: Path, contract: Contract) -> None:
        """Hold an engine folder against its record and against the model's contract.

        Raises:
            EngineError: the plan was built from another model.
            ModelError: a file is missing, truncated or changed.
        """
        path = folder / PLAN_FILE
        if self.onnx_sha256 != contract.model_sha256:
            raise EngineError(
                f"{path}: must be built from the model of sha256 {contract.model_sha256}, "
                f"got a plan of {self.onnx_sha256}"
            )
        expected = {PLAN_FILE: self.plan_sha256}
        if self.stripped:
            expected[WEIGHTS_FILE] = self.graph_sha256
        for name, sha256 in expected.items():
            found = sha256_of(folder / name) if (folder / name).is_file() else "no file"
            if found != sha256:
                raise ModelError(f"{folder / name}: sha256 must be {sha256}, got {found}")

    def check_place(self, path: Path, toolkit_version: str, gpu: Gpu) -> None:
        """Hold a plan against the toolkit and the GPU that shall run it.

        Raises:
            EngineError: it was built for another version or another GPU.
        """
        if not self._fits_version(toolkit_version):
            raise EngineError(
                f"{path}: must be run by {self.target} {self.toolkit_version}, which built it, "
                f"got {toolkit_version}; build it anew (dyntransnet build-engine)"
            )
        same_kind = self.gpu is None or self.gpu.name == gpu.name
        if gpu.compute_capability not in self.compute_capabilities or not same_kind:
            built_for = self.gpu or ", ".join(map(str, self.compute_capabilities))
            raise EngineError(
                f"{path}: must be run on the GPU it was built for, {built_for}, got {gpu}; "
                f"build it anew (dyntransnet build-engine)"
            )

    def _fits_version(self, found: str) -> bool:
        if not self.version_compatible:
            return found == self.toolkit_version
        ours, theirs = (
            tuple(int(part) for part in version.split(".")[:2])
            for version in (self.toolkit_version, found)
        )
        return theirs[0] == ours[0] and theirs >= ours
