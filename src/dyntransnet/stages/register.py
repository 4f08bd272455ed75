"""Put the exported model into MLflow's registry; the gate decides who is champion.

The registry holds the ONNX file that passed parity, byte for byte, with what was made of it
for OpenVINO, its contract, its scores and where it came from. A refused model is registered
too, without the alias.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import onnx
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from dyntransnet.atomic import new_file, sha256_of
from dyntransnet.config import RegisterParams
from dyntransnet.contract import CONTRACT_FILE, FINGERPRINT_FILE, ONNX_FILE, Contract
from dyntransnet.errors import QualityGateError
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.golden import write_golden
from dyntransnet.runtimes.latency import RUNTIME, slowdown
from dyntransnet.runtimes.openvino_files import FOLDER, NOTE_FILE
from dyntransnet.scoring.gate import Rules, judge, mean_dices
from dyntransnet.scoring.pairing import TEST_SET_FILE, Evaluation, read_evaluation
from dyntransnet.scoring.records import CASES_FILE, read_patients
from dyntransnet.scoring.trial import run_trials
from dyntransnet.scoring.verdict import line
from dyntransnet.tracking import (
    alias_version,
    connect,
    download,
    origin,
    register_version,
    same_run,
)

SAME_BYTES = ("contract_sha256", "openvino_sha256")
"""Tags that tell versions apart: they name all files of a model, directly or through hashes."""


@dataclass(frozen=True)
class Rival:
    """The champion, on the challenger's test cases.

    Attributes:
        evaluation: its scores.
        slowdown: the challenger's seconds for a scan over the champion's; None where both
            are one model.
    """

    evaluation: Evaluation
    slowdown: float | None


def run(
    model: Path,
    evaluation: Path,
    parity: Path,
    cases: Path,
    *,
    patients: Path,
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
        patients: what ``split`` wrote: whose each case is.
        run: run.json of the training.
        out: receipt to write, as JSON.
        params: names and limits.

    Raises:
        QualityGateError: the model is refused and there is no champion to go on with.
    """
    client, contract = connect(), Contract.load(model)
    scored = read_evaluation(evaluation)
    test_set = json.loads((evaluation / TEST_SET_FILE).read_text())
    run_id = json.loads(run.read_text())["run_id"]
    champion = alias_version(client, params.model, params.alias)
    rival = _rival(client, champion, cases, test_set, model) if champion else None
    verdict = judge(
        rival.evaluation if rival else None,
        scored,
        Rules(**params.model_dump(exclude={"model", "alias"})),
        patient_of=read_patients(patients, scored.scores),
        slowdown=rival.slowdown if rival else None,
    )
    broken = list(verdict.broken)
    tags = _tags(model, contract, scored, broken)
    beside = [parity, evaluation / CASES_FILE, evaluation / TEST_SET_FILE]
    version = _register(client, params.model, model, beside, run_id, tags)
    if broken and not champion:
        raise QualityGateError(
            f"{params.model} version {version}: {'; '.join(broken)}; registered without the "
            f"alias {params.alias}, and no earlier version holds it"
        )
    if not broken:
        client.set_registered_model_alias(params.model, params.alias, version)
    served = client.get_model_version_by_alias(params.model, params.alias)
    if not broken:
        print(f"register: gate {line(verdict)}")
    _write_receipt(out, params, version, broken, served)


def _tags(model: Path, contract: Contract, scored: Evaluation, broken: list[str]) -> dict[str, str]:
    """What a version says of itself."""
    return {
        **origin(),
        **_openvino_tag(model),
        **{f"dice_{name}": str(value) for name, value in mean_dices(scored).items()},
        "test_set_sha256": str(scored.test_set),
        "model_sha256": contract.model_sha256,
        "contract_sha256": sha256_of(model / CONTRACT_FILE),
        "manifest_sha256": contract.manifest_sha256,
        "network": contract.network.name,
        "gate": "; ".join(broken) or "passed",
    }


def _openvino_tag(model: Path) -> dict[str, str]:
    """Names every file that was made for OpenVINO, through the list of their hashes."""
    note = model / FOLDER / NOTE_FILE
    return {"openvino_sha256": sha256_of(note)} if note.is_file() else {}


def _rival(
    client: MlflowClient,
    champion: ModelVersion,
    cases: Path,
    test_set: dict[str, Any],
    model: Path,
) -> Rival:
    """The champion's scores on this test set, and how much faster it is."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = download(client, champion, Path(scratch))
        is_other = Contract.load(folder).model_sha256 != Contract.load(model).model_sha256
        return Rival(
            evaluation=_scores(folder, champion, cases, test_set),
            slowdown=slowdown(folder, model) if is_other else None,
        )


def _scores(
    folder: Path, champion: ModelVersion, cases: Path, test_set: dict[str, Any]
) -> Evaluation:
    """Those it was registered with; scored anew where they are of another test set."""
    if (folder / CASES_FILE).is_file():
        known = read_evaluation(folder)
        if known.test_set == test_set["sha256"]:
            return known
    print(f"register: scoring champion version {champion.version} on these test scans too")
    predict, contract = load(folder, RUNTIME)
    trials = run_trials(cases, test_set["cases"], predict, contract)
    scores = {trial.case: trial.scores for trial in trials}
    return Evaluation(scores, test_set["sha256"])


def _register(
    client: MlflowClient,
    name: str,
    model: Path,
    beside: list[Path],
    run_id: str,
    tags: dict[str, str],
) -> str:
    """The version of these very bytes: the one that exists, or a new one.

    Files ``beside`` the model are kept with it.
    """
    for known in client.search_model_versions(f"name = '{name}'"):
        if all(known.tags.get(key) == tags.get(key) for key in SAME_BYTES):
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
        if (model / FINGERPRINT_FILE).is_file():
            shutil.copyfile(model / FINGERPRINT_FILE, folder / FINGERPRINT_FILE)
        write_golden(model, folder)
        if (model / FOLDER).is_dir():
            shutil.copytree(model / FOLDER, folder / FOLDER)
        for file in beside:
            shutil.copyfile(file, folder / file.name)
        # One run may be exported twice: each version keeps files of its own.
        named = [tags[key][:12] for key in SAME_BYTES if key in tags]
        place = f"model/{'-'.join(named)}"
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
