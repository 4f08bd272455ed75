"""What a dataset is like in a few numbers: grids, intensities, livers, tumors.

No case is named in it: it travels with the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from dyntransnet.contract import FINGERPRINT_FILE, Modality, broken_rule
from dyntransnet.errors import ModelError
from dyntransnet.imaging.geometry import orientation_of
from dyntransnet.imaging.lesions import Findings
from dyntransnet.imaging.scan import Mask, Scan, spacing_of

SAMPLES = 10_000
"""Foreground voxels taken of each case, so that a long scan counts no more than a short one."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Traits:
    """What one case adds to the fingerprint; axes in the order nearest to RAS.

    Attributes:
        is_trusted: whether millimeters mean anything.
        spacing_mm: voxel edges.
        shape: voxels.
        foreground: values inside the liver, tumors included.
        liver_ml: volume.
        tumors_mm: diameter of each tumor.
    """

    is_trusted: bool
    spacing_mm: Triple
    shape: tuple[int, int, int]
    foreground: Float32[np.ndarray, "samples"]
    liver_ml: float
    tumors_mm: tuple[float, ...]


class Figures(BaseModel):
    """A part of the fingerprint."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Spread(Figures):
    """How one number is spread over a dataset."""

    low: float
    p10: float
    median: float
    p90: float
    high: float


class Intensities(Figures):
    """Voxel values in the foreground."""

    p00_5: float
    median: float
    p99_5: float
    mean: float
    sd: float


class Fingerprint(Figures):
    """A dataset in numbers.

    Attributes:
        version: of this format.
        modality: what the scans are; values in MR have no unit that scans share.
        cases: how many.
        cases_trusted: of them, those whose millimeters mean something; spacings, volumes
            and diameters are theirs alone, and None where there are none.
        cases_with_tumor: how many.
        spacing_mm: along x, y and z.
        shape: voxels along x, y and z.
        foreground: values inside the liver, tumors included.
        liver_ml: volume.
        tumors: how many a case has.
        tumor_mm: diameter of the sphere of equal volume; None where there is no tumor.
    """

    version: int = 1
    modality: Modality
    cases: PositiveInt
    cases_trusted: int
    cases_with_tumor: int
    spacing_mm: tuple[Spread, Spread, Spread] | None
    shape: tuple[Spread, Spread, Spread]
    foreground: Intensities
    liver_ml: Spread | None
    tumors: Spread
    tumor_mm: Spread | None


def read_fingerprint(folder: Path) -> Fingerprint | None:
    """Of the dataset that a model folder's model learned from; None where nobody kept it.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / FINGERPRINT_FILE
    if not path.is_file() or path.read_bytes().strip() == b"null":
        return None
    try:
        return Fingerprint.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(f"{path}: {broken_rule(error)}") from error


def traits_of(scan: Scan, mask: Mask, findings: Findings, *, is_trusted: bool) -> Traits:
    """Measure one case.

    Args:
        scan: the scan.
        mask: on its grid, not empty.
        findings: what ``lesions.measure`` says of the mask.
        is_trusted: whether its millimeters mean anything.
    """
    order, _ = orientation_of(scan.affine)
    spacing, shape = spacing_of(scan.affine), scan.voxels.shape
    inside = scan.voxels[mask.labels > 0]
    return Traits(
        is_trusted=is_trusted,
        spacing_mm=(spacing[order[0]], spacing[order[1]], spacing[order[2]]),
        shape=(shape[order[0]], shape[order[1]], shape[order[2]]),
        foreground=inside[:: -(-len(inside) // SAMPLES)].astype(np.float32),
        liver_ml=findings.liver_ml,
        tumors_mm=tuple(lesion.diameter_mm for lesion in findings.lesions),
    )


def fingerprint_of(cases: Sequence[Traits], modality: Modality) -> Fingerprint:
    """Put the cases of a dataset together.

    Args:
        cases: one or more.
        modality: of all of them.
    """
    trusted = [case for case in cases if case.is_trusted]
    diameters = [diameter for case in trusted for diameter in case.tumors_mm]
    return Fingerprint(
        modality=modality,
        cases=len(cases),
        cases_trusted=len(trusted),
        cases_with_tumor=sum(bool(case.tumors_mm) for case in cases),
        spacing_mm=_along_axes([case.spacing_mm for case in trusted]) if trusted else None,
        shape=_along_axes([case.shape for case in cases]),
        foreground=_intensities(np.concatenate([case.foreground for case in cases])),
        liver_ml=_spread([case.liver_ml for case in trusted]) if trusted else None,
        tumors=_spread([len(case.tumors_mm) for case in cases]),
        tumor_mm=_spread(diameters) if diameters else None,
    )


def _along_axes(
    triples: Sequence[Sequence[float] | Sequence[int]],
) -> tuple[Spread, Spread, Spread]:
    x, y, z = (_spread(values) for values in zip(*triples, strict=True))
    return x, y, z


def _spread(values: Sequence[float] | Sequence[int]) -> Spread:
    names = ("low", "p10", "median", "p90", "high")
    found = np.percentile(np.asarray(values, float), (0, 10, 50, 90, 100)).round(4)
    return Spread(**dict(zip(names, found.tolist(), strict=True)))


def _intensities(values: np.ndarray) -> Intensities:
    low, median, high = np.percentile(values, (0.5, 50, 99.5)).round(3).tolist()
    mean, sd = (
        round(float(found), 3) for found in (values.mean(dtype=float), values.std(dtype=float))
    )
    return Intensities(p00_5=low, median=median, p99_5=high, mean=mean, sd=sd)
