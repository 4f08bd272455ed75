"""Write the registry's champion into Triton's model repository.

Always from the registry, never from the training folder: what is served is what
was promoted, by the gate or by a person in the MLflow UI.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion

from dyntransnet.atomic import new_file, new_folder, sha256_of
from dyntransnet.config import PublishParams
from dyntransnet.contract import CONTRACT_FILE, FINGERPRINT_FILE, ONNX_FILE, Contract
from dyntransnet.errors import ModelError
from dyntransnet.repository import CONFIG_FILE, NETWORK, VERSION, network_config
from dyntransnet.runtimes import openvino_files
from dyntransnet.runtimes.plan_serving import place_plan, plan_for
from dyntransnet.service.versions import RECEIPT_FILE, TRAFFIC_FILE, write_receipt
from dyntransnet.tracking import alias_version, connect, download


def run(receipt: Path, out: Path, params: PublishParams, *, engine: Path | None = None) -> None:
    """Publish the version that holds the alias.

    Args:
        receipt: what ``register`` wrote; names the model and the alias.
        out: Triton's model repository.
        params: how Triton runs the network.
        engine: what ``build-engine`` wrote; read for the backend ``tensorrt`` alone.

    Raises:
        EngineError: there is no plan for the backend ``tensorrt``, or one of another model.
        ModelError: no version holds the alias, its files are not what was registered, or
            it has none of the precision that is asked for.
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
        contract = Contract.load(folder)
        # Tells of a damaged or missing form before anything is written.
        openvino_files.find(folder, contract, params.precision)
        plan = plan_for(params.backend, engine, contract)
        place_plan(plan, out / NETWORK / VERSION)
        write_network(folder, out / NETWORK, params, origin_of(champion))
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
    if sha256 := version.tags.get("openvino_sha256"):
        expected[f"{openvino_files.FOLDER}/{openvino_files.NOTE_FILE}"] = sha256
    for name, sha256 in expected.items():
        found = sha256_of(model / name) if (model / name).is_file() else "no file"
        if found != sha256:
            raise ModelError(
                f"{version.name} version {version.version}: {name} must have the registered "
                f"sha256 {sha256}, got {found}"
            )


def write_network(
    model: Path, target: Path, params: PublishParams, origin: Mapping[str, str]
) -> None:
    """Make a model the only one of the repository, for a server that is started next.

    A server that runs goes on with what it has loaded.
    """
    contract = Contract.load(model)
    write_version(model, target / VERSION, origin)
    with new_file(target / CONFIG_FILE) as path:
        path.write_text(
            network_config(
                contract, params.backend, runtime=params.runtime, precision=params.precision
            )
        )
    (target / TRAFFIC_FILE).unlink(missing_ok=True)


def write_version(model: Path, folder: Path, origin: Mapping[str, str]) -> None:
    """Place a model folder's files in a version folder; the receipt comes last."""
    (folder / RECEIPT_FILE).unlink(missing_ok=True)
    with new_folder(folder / openvino_files.FOLDER) as made:
        for file in sorted((model / openvino_files.FOLDER).glob("*")):
            shutil.copyfile(file, made / file.name)
    for name in (ONNX_FILE, CONTRACT_FILE):
        with new_file(folder / name) as path:
            shutil.copyfile(model / name, path)
    with new_file(folder / FINGERPRINT_FILE) as path:
        known = model / FINGERPRINT_FILE
        path.write_text(known.read_text() if known.is_file() else "null\n")
    write_receipt(folder, origin)


def origin_of(version: ModelVersion) -> dict[str, str]:
    """What a version folder says of where it came from."""
    return {"model": str(version.name), "version": str(version.version)}
