"""A plan on its way into Triton's model repository."""

import shutil
from pathlib import Path

from dyntransnet.atomic import new_file
from dyntransnet.contract import Contract
from dyntransnet.errors import EngineError
from dyntransnet.repository import MAX_BATCH_SIZE
from dyntransnet.runtimes.plan_file import PLAN_FILE, RECORD_FILE, PlanRecord


def plan_for(backend: str, engine: Path | None, contract: Contract) -> Path | None:
    """The plan that a backend of Triton needs, held against the model that is published.

    The GPU and Triton's version of TensorRT are not seen from here: the record goes along.

    Args:
        backend: of Triton; only ``tensorrt`` needs a plan.
        engine: what ``build-engine`` wrote.
        contract: of the model that is published.

    Raises:
        EngineError: none was given, or it was built from another model or not for Triton.
        ModelError: the plan is truncated or changed.
    """
    if backend != "tensorrt":
        return None
    if engine is None:
        raise EngineError(
            "publish.backend tensorrt must be given a plan: dyntransnet build-engine makes one, "
            "publish --engine FOLDER takes it, got none"
        )
    record, plan = PlanRecord.load(engine), engine / PLAN_FILE
    record.check_files(engine, contract)
    if record.target != "tensorrt":
        raise EngineError(f"{plan}: must be built with --target tensorrt, got {record.target}")
    if record.stripped:
        raise EngineError(f"{plan}: must hold its weights for Triton, got a stripped plan")
    if record.batch != MAX_BATCH_SIZE:
        raise EngineError(
            f"{plan}: must be built with --batch {MAX_BATCH_SIZE}, got {record.batch}"
        )
    return plan


def place_plan(plan: Path | None, folder: Path) -> None:
    """Put a plan and its record into a model's version folder, and take an older one away."""
    for name in (PLAN_FILE, RECORD_FILE):
        (folder / name).unlink(missing_ok=True)
    if plan is None:
        return
    for name in (RECORD_FILE, PLAN_FILE):
        with new_file(folder / name) as path:
            shutil.copyfile(plan.with_name(name), path)
