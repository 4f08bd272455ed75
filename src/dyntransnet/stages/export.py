"""Write ONNX and what OpenVINO loads, and prove on real scans that each gives torch's masks."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyntransnet.atomic import new_file, new_folder, sha256_of
from dyntransnet.config import ExportParams
from dyntransnet.contract import FINGERPRINT_FILE, ONNX_FILE, Contract
from dyntransnet.errors import ParityError
from dyntransnet.networks.registry import check_exportable
from dyntransnet.runtimes.onnx_writer import write_onnx
from dyntransnet.runtimes.openvino_writer import write_openvino
from dyntransnet.runtimes.proof import Form, prove
from dyntransnet.runtimes.samples import liver_windows, typical_windows
from dyntransnet.runtimes.torch_runtime import load_network, predictor
from dyntransnet.scoring.parity import ParityLimits, disagreements
from dyntransnet.scoring.parity_page import write_parity_page


def run(
    checkpoint: Path,
    cache: Path,
    cases: Path,
    splits: Path,
    *,
    out: Path,
    report: Path,
    params: ExportParams,
) -> None:
    """Export a checkpoint; nothing is written when a form of it disagrees with torch.

    Args:
        checkpoint: what ``train`` wrote.
        cache: what ``preprocess`` wrote; windows of it are compared.
        cases: what ``ingest`` wrote; whole scans of it are compared.
        splits: what ``split`` wrote: which cases are tested.
        out: model folder to write: model.onnx, its contract, the fingerprint, openvino/.
        report: folder to write: parity.json and report.html.
        params: opset, precisions and limits.

    Raises:
        ModelError: the network cannot become an ONNX file; the reason is given.
        ParityError: logits or masks differ by more than the limits allow.
    """
    contract = Contract.load(checkpoint)
    check_exportable(contract.network)
    network = load_network(checkpoint, contract)
    with new_folder(out) as folder:
        write_onnx(network, folder / ONNX_FILE, contract, params.opset)
        signed = contract.model_copy(update={"model_sha256": sha256_of(folder / ONNX_FILE)})
        signed.save(folder)
        if (checkpoint / FINGERPRINT_FILE).is_file():
            shutil.copyfile(checkpoint / FINGERPRINT_FILE, folder / FINGERPRINT_FILE)
        ranges = typical_windows(cache, splits, contract, params.calibration)
        write_openvino(folder, params.openvino, ranges)
        parity = {}
        for form, row in prove(
            folder,
            forms_of(params),
            predictor(network),
            windows=liver_windows(cache, contract, params.windows),
            cases=[cases / case for case in json.loads(splits.read_text())["test"][: params.scans]],
        ):
            parity[form] = row
            print(f"export: {_shown(form, row)}")
        if broken := disagreements(parity, limits_of(params)):
            raise ParityError(f"{checkpoint}: {'; '.join(broken)}")
    _write_report(report, signed, parity, params)


def forms_of(params: ExportParams) -> list[Form]:
    """What is held against torch: whatever ``publish`` may choose."""
    precisions = dict.fromkeys(("fp32", *params.openvino))
    return [("onnxruntime", "fp32"), *(("openvino", precision) for precision in precisions)]


def limits_of(params: ExportParams) -> dict[str, ParityLimits]:
    """The limits of each precision."""
    return {name: ParityLimits(**limit.model_dump()) for name, limit in params.limits.items()}


def _shown(form: str, row: Mapping[str, Any]) -> str:
    told = f"{form} within {row['relative_difference']:.1e} of torch, Dice {row['dice_min']:.5f}"
    for name, change in row["dice_change"].items():
        if change is not None:
            told += f", {name} {change:+.5f} against the truth"
    if row["precision"] != "fp32":
        told += f"; floats in {row['computed_in']}"
    return told


def _write_report(
    report: Path, contract: Contract, parity: Mapping[str, Any], params: ExportParams
) -> None:
    found = {"model_sha256": contract.model_sha256, "forms": parity}
    with new_file(report / "parity.json") as path:
        path.write_text(json.dumps(found, indent=1) + "\n")
    with new_file(report / "report.html") as path:
        write_parity_page(contract, parity, limits_of(params), path)
