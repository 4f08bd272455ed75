"""The whole system on one machine: a served scan that training never saw."""

import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dyntransnet.atomic import new_file
from dyntransnet.client import SegmentationClient
from dyntransnet.files import draw_preview
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import read_mask, read_scan, write_mask
from dyntransnet.scoring.metrics import Row, score_case
from dyntransnet.scoring.trial import MASK_FILE, SCAN_FILE
from dyntransnet.server import TritonServer


def run(cases: Path, splits: Path, repository: Path, out: Path) -> None:
    """Serve the published model, have a test scan segmented, and show the result.

    Args:
        cases: what ``ingest`` wrote.
        splits: what ``split`` wrote; its first test case with a tumor is sent.
        repository: Triton's model repository, with the network published.
        out: folder to write: mask.nii.gz, report.json, preview.png.

    Raises:
        ServingError: the server does not start or answer.
    """
    case = _test_case(cases, splits)
    scan = replace(read_scan(cases / case / SCAN_FILE), id=case)
    truth = read_mask(cases / case / MASK_FILE)
    print("demo: starting Triton")
    with TritonServer(repository) as server, SegmentationClient(server.url) as client:
        print(f"demo: sending {case} to {server.url}")
        found = client.segment(scan)
    print("demo: Triton stopped")
    scores = score_case(truth, found.mask)
    write_mask(found.mask, out / "mask.nii.gz")
    with new_file(out / "report.json") as path:
        path.write_text(json.dumps({"case": case, **found.report}, indent=1) + "\n")
    draw_preview(scan, found.mask, out / "preview.png", truth=truth)
    _show(case, scores, found.report, out)


def _test_case(cases: Path, splits: Path) -> str:
    ids: list[str] = json.loads(splits.read_text())["test"]
    tumorous = [case for case in ids if measure(read_mask(cases / case / MASK_FILE)).tumor_ml]
    return (tumorous or ids)[0]


def _show(case: str, scores: dict[str, Row], report: dict[str, float], out: Path) -> None:
    table = Table()
    for head in ("", "Dice", "truth ml", "found ml"):
        table.add_column(head, justify="left" if not head else "right")
    for name, row in scores.items():
        shown = (row["dice"], row["truth_ml"], row["predicted_ml"])
        table.add_row(name, f"{shown[0]:.3f}", f"{shown[1]:.1f}", f"{shown[2]:.1f}")
    console = Console()
    console.print(f"{case}, a scan that training never saw", highlight=False)
    console.print(table)
    console.print(f"tumor burden {100 * report['tumor_burden']:.1f} %")
    for name in ("preview.png", "mask.nii.gz", "report.json"):
        console.print(f"  {out / name}", highlight=False)
    console.print("  reports/evaluate/report.html, every test case", highlight=False)
    console.print("make mlflow opens the runs and the model registry", highlight=False)
