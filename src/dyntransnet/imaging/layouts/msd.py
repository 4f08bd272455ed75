"""The Medical Segmentation Decathlon's Task03_Liver, by the list in its ``dataset.json``."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from dyntransnet.contract import Modality, broken_rule
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts.case import Case, file_case
from dyntransnet.imaging.scan import case_id_of

HOLDS = "imagesTr, labelsTr and dataset.json"
LIST = "dataset.json"
SCANS, MASKS = "imagesTr", "labelsTr"
MODALITIES: dict[str, Modality] = {"CT": "CT", "MRI": "MR", "MR": "MR"}


class Entry(BaseModel):
    """A training case of the list."""

    image: str
    label: str


class Listing(BaseModel):
    """What is used of ``dataset.json``."""

    modality: dict[str, str]
    training: list[Entry]


def fits(source: Path) -> bool:
    """Whether the list and both folders are there."""
    return (source / LIST).is_file() and all((source / name).is_dir() for name in (SCANS, MASKS))


def find(source: Path, modality: Modality, numbering: Numbering) -> list[Case]:
    """List the training cases; each is a patient of its own.

    Raises:
        ScanError: the list cannot be read.
        DatasetError: files of the list are missing.
    """
    listing = _read_list(source)
    told = MODALITIES.get(next(iter(listing.modality.values()), ""), modality)
    cases, problems = [], []
    for entry in listing.training:
        # Only the names count: a list cannot lead out of its dataset.
        scan = source / SCANS / Path(entry.image).name
        mask = source / MASKS / Path(entry.label).name
        problems += [
            f"{path.parent.name}/{path.name}: must exist, as {LIST} lists it, got no file"
            for path in (scan, mask)
            if not path.is_file()
        ]
        cases.append(file_case(scan, mask, told, numbering, case=case_id_of(scan)))
    if not cases:
        problems = [f"{LIST}: must list training cases, got none"]
    if problems:
        raise DatasetError(source.name, problems, code="layout")
    return cases


def _read_list(source: Path) -> Listing:
    try:
        values: Any = json.loads((source / LIST).read_bytes())
        return Listing.model_validate(values)
    except OSError as error:
        raise ScanError(f"{LIST}: must be readable, got {error.strerror}", code="layout") from error
    except ValidationError as error:
        raise ScanError(f"{LIST}: {broken_rule(error)}", code="layout") from error
    except ValueError as error:
        raise ScanError(
            f"{LIST}: must be JSON, got {type(error).__name__}", code="layout"
        ) from error
