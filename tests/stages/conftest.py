"""An empty registry, and scans to score champions on."""

from pathlib import Path

import pytest
from registry import CASES, Bench

from builders import case_of
from dyntransnet.imaging.scan import write_mask, write_scan
from dyntransnet.runtimes import golden, latency
from dyntransnet.scoring import trial


@pytest.fixture
def bench(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(latency, "FIELD_MM", (60.0, 70.0, 50.0))
    few = {"spacing_mm": (8.0, 8.0, 10.0), "shape": (49, 42, 24)}
    monkeypatch.setattr(golden, "RECIPE", golden.RECIPE.model_copy(update=few))
    for seed, name in enumerate(CASES):
        scan, mask = case_of(seed=seed)
        write_scan(scan, workplace / "cases" / name / trial.SCAN_FILE)
        write_mask(mask, workplace / "cases" / name / trial.MASK_FILE)
    return Bench(workplace)
