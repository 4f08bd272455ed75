"""A model put to the test: scans it never saw, segmented as serving would, and scored."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dyntransnet.atomic import sha256_of
from dyntransnet.contract import Contract
from dyntransnet.imaging.scan import Mask, Scan, read_mask, read_scan
from dyntransnet.imaging.segment import ProbabilityMap, mask_on_scan, probability_map
from dyntransnet.imaging.tiling import Predict
from dyntransnet.scoring.metrics import ScoredCase, score_with_lesions
from dyntransnet.scoring.overlap import Row

SCAN_FILE, MASK_FILE = "scan.nii.gz", "mask.nii.gz"


@dataclass(frozen=True)
class Trial:
    """One test case with the model's answer.

    Attributes:
        case: its id.
        scan: what the model saw.
        truth: the reference mask.
        predicted: the model's mask, as ``segment`` gives it.
        scored: the mask in numbers.
        probabilities: what the mask was made of.
    """

    case: str
    scan: Scan
    truth: Mask
    predicted: Mask
    scored: ScoredCase
    probabilities: ProbabilityMap

    @property
    def scores(self) -> dict[str, Row]:
        """Per class, as ``score_case`` gives them."""
        return self.scored.rows


def run_trials(
    cases: Path,
    ids: Sequence[str],
    predict: Predict,
    contract: Contract,
    *,
    nsd_mm: Mapping[str, float] | None = None,
) -> Iterator[Trial]:
    """Segment and score cases one after another, on their own grids.

    Args:
        cases: what ``ingest`` wrote.
        ids: the test cases.
        predict: the network.
        contract: how it wants its input.
        nsd_mm: per class the tolerance of the surface Dice; None scores no surfaces.
    """
    for case in ids:
        scan, truth = read_scan(cases / case / SCAN_FILE), read_mask(cases / case / MASK_FILE)
        found = probability_map(scan, predict, contract)
        predicted = mask_on_scan(found.values, found.placement, scan, contract.threshold)
        scored = score_with_lesions(truth, predicted, nsd_mm)
        yield Trial(case, scan, truth, predicted, scored, found)


def test_set_hash(cases: Path, ids: Sequence[str]) -> str:
    """Names a test set: two models are compared only on the same one."""
    files = [
        (case, sha256_of(cases / case / name))
        for case in sorted(ids)
        for name in (SCAN_FILE, MASK_FILE)
    ]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()
