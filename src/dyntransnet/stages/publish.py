"""Write the registry's champion into Triton's model repository.

Always from the registry, never from the training folder: what is served is what
was promoted, by the gate or by a person in the MLflow UI.
"""

import json
import shutil
import tempfile
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion

from dyntransnet.atomic import new_file, sha256_of
from dyntransnet.config import PublishParams
from dyntransnet.contract import CONTRACT_FILE, ONNX_FILE, Contract
from dyntransnet.errors import EngineError, ModelError
from dyntransnet.repository import (
    CONFIG_FILE,
    MAX_BATCH_SIZE,
    NETWORK,
    VERSION,
    network_config,
)
from dyntransnet.runtimes.plan_file import PLAN_FILE, RECORD_FILE, PlanRecord
from dyntransnet.tracking import alias_version, connect, download


def run(receipt: Path, out: Path, params: PublishParams, *, engine: Path | None = None) -> None:
    """Publish the version that holds the alias.

    Args:
        receipt: what ``register`` wrote; names the model and the alias.
        out: Triton's model repository.
        params: how Triton runs the network.
        engine: what ``build-engine`` wrote; read for the backend ``tensorrt`` alone.

    Raises:
        EngineError: the plan was built from another model, or is none for Triton.
        ModelError: no version holds the alias, or its files are not what was registered.
    """
    named = json.loads(receipt.read_text())
    client = connect()
    champion = alias_version(client, named["model"], named["alias"])
    if champion is None:
        raise ModelError(
            f"{named['model']}: a version must hold the alias {named['alias']}, got none"
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = download(client, champion, Path(scratch))
        check_registered(folder, champion)
        plan = None
        if params.backend == "tensorrt":
            plan = checked_plan(engine, Contract.load(folder))
        write_network(folder, out / NETWORK, params, plan)
    print(f"publish: {named['model']} version {champion.version} -> {out / NETWORK}")


def check_registered(model: Path, version: ModelVersion) -> None:
    """Hold a downloaded model folder against the version it came from.

    A version that was registered by hand has no hashes in its tags: its ONNX file must
    then be the one its contract was signed for.

    Raises:
        ModelError: the ONNX file or its contract is not the one that was registered.
    """
    expected = {
        ONNX_FILE: version.tags.get("model_sha256", Contract.load(model).model_sha256),
        CONTRACT_FILE: version.tags.get("contract_sha256", sha256_of(model / CONTRACT_FILE)),
    }
    for name, sha256 in expected.items():
        found = sha256_of(model / name) if (model / name).is_file() else "no file"
        if found != sha256:
            raise ModelError(
                f"{version.name} version {version.version}: {name} must have the registered "
                f"sha256 {sha256}, got {found}"
            )


def checked_plan(engine: Path | None, contract: Contract) -> Path:
    """The plan of an engine folder, for the model that is published.

    The GPU and Triton's version of TensorRT are not seen from here: the record goes along.

    Raises:
        EngineError: none was given, or it was built from another model or not for Triton.
        ModelError: the plan is truncated or changed.
    """
    if engine is None:
        raise EngineError(
            "publish.backend tensorrt must be given a plan: dyntransnet build-engine makes one, "
            "publish --engine FOLDER takes it, got none"
        )
    record = PlanRecord.load(engine)
    record.check_files(engine, contract)
    plan = engine / PLAN_FILE
    if record.target != "tensorrt":
        raise EngineError(f"{plan}: must be built with --target tensorrt, got {record.target}")
    if record.stripped:
        raise EngineError(f"{plan}: must hold its weights for Triton, got a stripped plan")
    if record.batch != MAX_BATCH_SIZE:
        raise EngineError(
            f"{plan}: must be built with --batch {MAX_BATCH_SIZE}, got {record.batch}"
        )
    return plan


def write_network(model: Path, target: Path, params: PublishParams, plan: Path | None) -> None:
    """Place a model folder's files in the repository; the contract comes last.

    A plan that lies there from before is removed: it is another model's, or not used.
    """
    contract = Contract.load(model)
    for name in (PLAN_FILE, RECORD_FILE):
        (target / VERSION / name).unlink(missing_ok=True)
        if plan is not None:
            _place(plan.with_name(name), target / VERSION / name)
    with new_file(target / CONFIG_FILE) as path:
        path.write_text(network_config(contract, params.backend, runtime=params.runtime))
    for name in (ONNX_FILE, CONTRACT_FILE):
        _place(model / name, target / VERSION / name)


def _place(source: Path, target: Path) -> None:
    with new_file(target) as path:
        shutil.copyfile(source, path)
