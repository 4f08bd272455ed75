"""A set of scored cases as files: tables, their summary, and a page that shows both."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dyntransnet.scoring.calibration import Calibration
from dyntransnet.scoring.records import write_cases, write_lesions
from dyntransnet.scoring.report.contents import Contents
from dyntransnet.scoring.report.page import write_page
from dyntransnet.scoring.summary import HOW

CASES, LESIONS, SUMMARY, REPORT = FILES = (
    "cases.csv", "lesions.csv", "summary.json", "report.html",
)  # fmt: skip


def write_results(contents: Contents, facts: Mapping[str, Any], folder: Path) -> None:
    """Write cases.csv, lesions.csv, summary.json and report.html.

    Args:
        contents: what there is to say.
        facts: stand in summary.json before the numbers.
        folder: an existing one.
    """
    cases = contents.cases
    write_cases({case: one.rows for case, one in cases.items()}, folder / CASES)
    write_lesions({case: one.lesions for case, one in cases.items()}, folder / LESIONS)
    summary = {
        **facts,
        "nsd_mm": dict(contents.nsd_mm),
        "intervals": asdict(HOW),
        **asdict(contents.summary),
    }
    if contents.calibration:
        summary["calibration"] = {
            name: _without_bins(one) for name, one in contents.calibration.items()
        }
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")
    write_page(contents, folder / REPORT)


def _without_bins(found: Calibration) -> dict[str, Any]:
    """They stand in calibration.csv."""
    shown = ("ece", "brier", "intervals", "cases", "patients")
    return {"voxels": found.pooled.n, **{name: getattr(found, name) for name in shown}}
