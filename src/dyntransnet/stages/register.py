"""Put the exported model into MLflow's registry; the gate decides who is champion.

The registry holds the ONNX file that passed parity, byte for byte, with its contract,
its scores and where it came from. A refused model is registered too, without the alias.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import onnx
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from dyntransnet.atomic import new_file, sha256_of
from dyntransnet.config import RegisterParams
from dyntransnet.contract import CONTRACT_FILE, ONNX_FILE, Contract
from dyntransnet.errors import QualityGateError
from dyntransnet.runtimes.choice import load
from dyntransnet.scoring.gate import Dices, dices_of, refusals
from dyntransnet.scoring.metrics import CLASSES, summarize
from dyntransnet.scoring.trial import run_trials
from dyntransnet.tracking import (
    alias_version,
    connect,
    download,
    origin,
    register_version,
    same_run,
)

RUNTIME = "onnxruntime"


def run(
    model: Path,
    evaluation: Path,
    parity: Path,
    cases: Path,
    *,
    run: Path,
    out: Path,
    params: RegisterParams,
) -> None:
    """Register a model and let the gate move the alias.

    Args:
        model: what ``export`` wrote.
        evaluation: what ``evaluate`` wrote.
        parity: parity.json; that it exists says that parity holds.
        cases: what ``ingest`` wrote; a champion scored on other data is scored on these.
        run: run.json of the training.
        out: receipt to write, as JSON.
        params: names and limits.

    Raises:
        QualityGateError: the model is refused and there is no champion to go on with.
    """
    client, contract = connect(), Contract.load(model)
    scores = dices_of(json.loads((evaluation / "metrics.json").read_text()))
    test_set = json.loads((evaluation / "test_set.json").read_text())
    run_id = json.loads(run.read_text())["run_id"]
    champion = alias_version(client, params.model, params.alias)
    theirs = _champion_dices(client, champion, cases, test_set, params) if champion else None
    broken = refusals(scores, theirs, minimum=_minimum(params), max_drop=params.max_dice_drop)
    tags = {
        **origin(),
        **{f"dice_{name}": str(value) for name, value in scores.items()},
        "test_set_sha256": test_set["sha256"],
        "model_sha256": contract.model_sha256,
        "contract_sha256": sha256_of(model / CONTRACT_FILE),
        "manifest_sha256": contract.manifest_sha256,
        "network": contract.network.name,
        "gate": "; ".join(broken) or "passed",
    }
    version = _register(client, params.model, model, parity, run_id, tags)
    if broken and not champion:
        raise QualityGateError(
            f"{params.model} version {version}: {'; '.join(broken)}; registered without the "
            f"alias {params.alias}, and no earlier version holds it"
        )
    if not broken:
        client.set_registered_model_alias(params.model, params.alias, version)
    served = client.get_model_version_by_alias(params.model, params.alias)
    _write_receipt(out, params, version, broken, served)


def _champion_dices(
    client: MlflowClient,
    champion: ModelVersion,
    cases: Path,
    test_set: dict[str, Any],
    params: RegisterParams,
) -> Dices:
    """The champion's scores on this test set; scored anew where it was tested on another."""
    if champion.tags.get("test_set_sha256") == test_set["sha256"]:
        known = {name: champion.tags[f"dice_{name}"] for name in CLASSES}
        return {name: None if value == "None" else float(value) for name, value in known.items()}
    print(f"register: scoring champion version {champion.version} on these test scans too")
    with tempfile.TemporaryDirectory() as scratch:
        folder = download(client, champion, Path(scratch))
        predict, contract = load(folder, RUNTIME)
        trials = run_trials(cases, test_set["cases"], predict, contract)
        return dices_of(summarize([trial.scores for trial in trials]))


def _minimum(params: RegisterParams) -> dict[str, float]:
    return {"liver": params.min_dice_liver, "tumor": params.min_dice_tumor}


def _register(
    client: MlflowClient, name: str, model: Path, parity: Path, run_id: str, tags: dict[str, str]
) -> str:
    """The version of these very bytes: the one that exists, or a new one."""
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.tags.get("contract_sha256") == tags["contract_sha256"]:
            for key, value in tags.items():
                client.set_model_version_tag(name, known.version, key, value)
            return str(known.version)
    with tempfile.TemporaryDirectory() as scratch, same_run(run_id):
        folder = Path(scratch) / "model"
        mlflow.onnx.save_model(
            onnx.load(model / ONNX_FILE),
            folder,
            pip_requirements=mlflow.onnx.get_default_pip_requirements(),
            save_as_external_data=False,
        )
        # MLflow writes the graph anew; the bytes that passed parity take its place.
        shutil.copyfile(model / ONNX_FILE, folder / ONNX_FILE)
        shutil.copyfile(model / CONTRACT_FILE, folder / CONTRACT_FILE)
        shutil.copyfile(parity, folder / parity.name)
        # One run may be exported twice: each version keeps files of its own.
        place = f"model/{tags['contract_sha256'][:12]}"
        mlflow.log_artifacts(str(folder), place)
        source = mlflow.get_artifact_uri(place)
    return register_version(client, name, source=source, run_id=run_id, tags=tags)


def _write_receipt(
    out: Path, params: RegisterParams, version: str, broken: list[str], served: ModelVersion
) -> None:
    receipt = {
        "model": params.model,
        "version": version,
        "refused": broken,
        "alias": params.alias,
        "champion": {
            "version": str(served.version),
            "model_sha256": served.tags.get("model_sha256"),
        },
    }
    with new_file(out) as path:
        path.write_text(json.dumps(receipt, indent=1) + "\n")
    verdict = f"refused ({'; '.join(broken)})" if broken else "passed the gate"
    print(f"register: {params.model} version {version} {verdict}")
    print(f"register: {params.alias} is version {served.version}")
