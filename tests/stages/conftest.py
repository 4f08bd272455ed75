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
    monkeypatch.setattr(golden, "make_phantom", lambda recipe: case_of(seed=9))
    for seed, name in enumerate(CASES):
        scan, mask = case_of(seed=seed)
        write_scan(scan, workplace / "cases" / name / trial.SCAN_FILE)
        write_mask(mask, workplace / "cases" / name / trial.MASK_FILE)
    return Bench(workplace)
