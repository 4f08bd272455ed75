"""Every form of a model, held against torch in fp32 on real windows and whole scans."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dyntransnet.contract import Contract
from dyntransnet.imaging.scan import Scan, read_mask, read_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.imaging.tiling import Predict, Windows
from dyntransnet.runtimes.choice import load
from dyntransnet.scoring.agreement import compare_masks, compare_windows, summarize_agreement

SCAN_FILE, MASK_FILE = "scan.nii.gz", "mask.nii.gz"

Form = tuple[str, str]
"""Runtime and precision."""


def prove(
    folder: Path,
    forms: Sequence[Form],
    reference: Predict,
    *,
    windows: Windows,
    cases: Sequence[Path],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Compare one form after another, so that memory holds one at a time.

    Args:
        folder: the model folder.
        forms: what to load of it.
        reference: the network they were made from.
        windows: whose logits are compared.
        cases: folders that ``ingest`` wrote, whose masks are compared.

    Yields:
        The form's name, and a row of parity.json.

    Raises:
        ModelError: a form cannot be loaded.
        ParityError: its logits are of another shape.
    """
    contract = Contract.load(folder)
    expected = reference(windows)
    masks = [segment(_scan(case), reference, contract) for case in cases]
    for runtime, precision in forms:
        predict, _ = load(folder, runtime, precision)
        scans = {
            case.name: compare_masks(
                read_mask(case / MASK_FILE), mask, segment(_scan(case), predict, contract)
            )
            for case, mask in zip(cases, masks, strict=True)
        }
        found = summarize_agreement(compare_windows(expected, predict(windows)), scans)
        used = computed_in(runtime, precision)
        origin = {"runtime": runtime, "precision": precision, "computed_in": used}
        yield f"{runtime} {precision}", {**origin, **found}


def computed_in(runtime: str, precision: str) -> str:
    """What a runtime's float operators run in on this machine."""
    if runtime != "openvino":
        return precision
    from dyntransnet.runtimes.openvino_runtime import computed_in  # optional at install

    return computed_in(precision)


def _scan(case: Path) -> Scan:
    return read_scan(case / SCAN_FILE)
