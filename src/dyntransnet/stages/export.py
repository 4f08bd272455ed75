"""Write ONNX, and prove on real windows that it gives the masks torch gives."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from dyntransnet.atomic import new_file, new_folder, sha256_of
from dyntransnet.config import ExportParams
from dyntransnet.contract import ONNX_FILE, Contract
from dyntransnet.errors import ParityError
from dyntransnet.imaging.tiling import Predict, Windows
from dyntransnet.learning.cache import CachedCase, cut
from dyntransnet.learning.checkpoint import FINGERPRINT_FILE
from dyntransnet.networks.registry import check_exportable
from dyntransnet.runtimes.choice import RUNTIMES, load
from dyntransnet.runtimes.onnx_writer import write_onnx
from dyntransnet.runtimes.torch_runtime import load_network, predictor
from dyntransnet.scoring.overlap import CLASSES, dice
from dyntransnet.scoring.parity import ParityLimits, disagreements


def run(checkpoint: Path, cache: Path, *, out: Path, report: Path, params: ExportParams) -> None:
    """Export a checkpoint; nothing is written when a runtime disagrees with torch.

    Args:
        checkpoint: what ``train`` wrote.
        cache: what ``preprocess`` wrote; windows of it are compared.
        out: model folder to write: model.onnx, its contract, the fingerprint.
        report: folder to write: parity.json.
        params: opset and limits.

    Raises:
        ModelError: the network cannot become an ONNX file; the reason is given.
        ParityError: logits or masks differ by more than the limits allow.
    """
    contract = Contract.load(checkpoint)
    check_exportable(contract.network)
    network = load_network(checkpoint, contract)
    windows = liver_windows(cache, contract, params.windows)
    with new_folder(out) as folder:
        write_onnx(network, folder / ONNX_FILE, contract, params.opset)
        signed = contract.model_copy(update={"model_sha256": sha256_of(folder / ONNX_FILE)})
        signed.save(folder)
        if (checkpoint / FINGERPRINT_FILE).is_file():
            shutil.copyfile(checkpoint / FINGERPRINT_FILE, folder / FINGERPRINT_FILE)
        parity = {
            name: compare(predictor(network), load(folder, name)[0], windows) for name in RUNTIMES
        }
        limits = ParityLimits(params.max_difference, params.min_dice)
        if broken := disagreements(parity, limits):
            raise ParityError(f"{checkpoint}: {'; '.join(broken)}")
    with new_file(report / "parity.json") as path:
        path.write_text(json.dumps({"windows": len(windows), "runtimes": parity}, indent=1) + "\n")
    for name, row in parity.items():
        shown = f"within {row['max_difference']:.1e} of torch, Dice {row['dice_min']:.5f}"
        print(f"export: {name} {shown}")


def liver_windows(cache: Path, contract: Contract, count: int) -> Windows:
    """Windows around tumors and livers of as many cases, evenly chosen."""
    cases = [CachedCase.open(path) for path in sorted(cache.iterdir()) if path.is_dir()]
    chosen = [cases[index * len(cases) // count] for index in range(count)]
    centers = [
        next((c for c in (case.tumor, case.liver) if len(c)), np.zeros((1, 3), int))
        for case in chosen
    ]
    cuts = [
        cut(case, center[len(center) // 2], contract.patch_size)[0]
        for case, center in zip(chosen, centers, strict=True)
    ]
    return np.stack(cuts)[:, None].astype(np.float32)


def compare(reference: Predict, tested: Predict, windows: Windows) -> dict[str, Any]:
    """How far one runtime's logits and masks are from another's.

    Returns:
        ``max_difference`` and ``mean_difference`` of logits, and per class the ``dice``
        between the masks, None where both are empty.

    Raises:
        ParityError: the logits differ in shape.
    """
    expected, found = reference(windows), tested(windows)
    if found.shape != expected.shape:
        raise ParityError(f"logits must be of shape {expected.shape}, got {found.shape}")
    difference = np.abs(expected - found)
    dices = {
        name: dice(expected[:, channel] >= 0, found[:, channel] >= 0)
        for channel, name in enumerate(CLASSES)
    }
    known = {name: None if np.isnan(value) else value for name, value in dices.items()}
    return {
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "dice": known,
        "dice_min": min((value for value in known.values() if value is not None), default=1.0),
    }
