"""Pages whose contents are known."""

import io

import numpy as np
from matplotlib import image as png

from builders import affine_of, case_of, contract_of
from dyntransnet.contract import NetworkSpec
from dyntransnet.imaging.fingerprint import fingerprint_of, traits_of
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import Mask
from dyntransnet.scoring.calibration import reliability, summarize_calibration
from dyntransnet.scoring.metrics import ScoredCase, score_with_lesions
from dyntransnet.scoring.report.contents import Contents, Learning, Model, Picture
from dyntransnet.scoring.statistics import Resampling
from dyntransnet.scoring.summary import summarize_cases

NSD_MM = {"liver": 3.0, "tumor": 2.0}
SHAPE = (19, 24, 13)
QUICK = Resampling(draws=200, confidence=0.95, seed=0)


def cases_of(count: int = 7) -> dict[str, ScoredCase]:
    """Predicted some voxels too far to the right; the last has no tumor anywhere."""
    found = {}
    for number in range(count):
        labels = case_of(SHAPE, seed=number)[1].labels
        if number == count - 1:
            labels = np.minimum(labels, np.uint8(1))
        truth, moved = (
            Mask(each, affine_of(SHAPE)) for each in (labels, np.roll(labels, number % 3, axis=0))
        )
        found[f"volume-{number}"] = score_with_lesions(truth, moved, NSD_MM)
    return found


def contents_of(cases: dict[str, ScoredCase] | None = None, **changes) -> Contents:
    """A page with all of its sections."""
    cases = cases_of() if cases is None else cases
    own = {case: case for case in cases}
    dices = {name: row["dice"] for name, row in next(iter(cases.values())).rows.items()}
    called = np.linspace(0, 1, 240).reshape(4, 10, 6)
    bins = dict.fromkeys(cases, reliability(called, called > 0.6))
    validations = [{"step": 40.0, "dice_liver": 0.5}, {"step": 80.0, "dice_liver": 0.7,
                                                       "dice_tumor": 0.2}]  # fmt: skip
    values = {
        "cases": cases,
        "summary": summarize_cases(cases, own, QUICK),
        "nsd_mm": NSD_MM,
        "pictures": [Picture(next(iter(cases)), "worst case", dices, picture())],
        "learning": Learning(
            [{"step": 20.0, "loss": 0.9}, {"step": 80.0, "loss": 0.4}], validations
        ),
        "calibration": {
            name: summarize_calibration(bins, own, QUICK) for name in ("liver", "tumor")
        },
        "model": model_of(),
    }
    return Contents(**values | changes)


def model_of(**changes) -> Model:
    """A model that learned from one case."""
    scan, mask = case_of(SHAPE)
    seen = fingerprint_of([traits_of(scan, mask, measure(mask), is_trusted=True)], "CT")
    values = {
        "contract": contract_of(
            network=NetworkSpec(name="dyntransnet_tiny", options={"refine": "plain"}),
            manifest_sha256="a" * 64,
        ),
        "facts": {"run_id": "b" * 32, "parameters": 761581, "steps": 400, "kept_step": 300},
        "fingerprint": seen,
        "test_set_sha256": "c" * 64,
    }
    return Model(**values | changes)


def picture() -> bytes:
    """A PNG file of a few pixels."""
    stream = io.BytesIO()
    png.imsave(stream, np.random.default_rng(1).random((6, 9)), format="png")
    return stream.getvalue()
