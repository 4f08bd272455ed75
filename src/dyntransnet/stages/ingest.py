"""Take a dataset in: read it as its authors ship it, check it, store it one way.

Writes ``cases/<id>/scan.nii.gz`` and ``mask.nii.gz``, and a manifest with geometry, volumes,
hashes, the dataset's fingerprint and who looks like whom. Bad cases stop it, and then
nothing is written but the list of what is wrong; or they are left out and named.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dyntransnet.atomic import check_writable, new_file, new_folder, sha256_of
from dyntransnet.config import IngestParams
from dyntransnet.contract import Modality
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.checks.cases import find_problems
from dyntransnet.imaging.checks.problems import Problem, remedies, table
from dyntransnet.imaging.checks.twins import (
    Likeness,
    Thumbnail,
    find_alike,
    thumbnail,
    voxels_sha256,
)
from dyntransnet.imaging.fingerprint import Traits, fingerprint_of, traits_of
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts import Case, find_cases
from dyntransnet.imaging.layouts.finding import AUTO, detect
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import Mask, Scan, spacing_of, write_mask, write_scan
from dyntransnet.workers import in_processes

Row = dict[str, Any]


@dataclass(frozen=True)
class Taken:
    """A case that was stored."""

    row: Row
    traits: Traits
    thumbnail: Thumbnail


def run(
    source: Path, *, cases: Path, manifest: Path, problems: Path | None = None, params: IngestParams
) -> None:
    """Store a dataset's cases and describe them.

    Args:
        source: the dataset: a folder, or the recipes of phantoms.
        cases: folder to write, one subfolder per case.
        manifest: JSON file to write.
        problems: JSON file to write: all that is wrong, empty where nothing is; it is
            written even where nothing else is.
        params: how it is laid out, and what a bad case does.

    Raises:
        DatasetError: some cases break a rule and are to stop it, or none is left; all are
            listed.
        OutputError: the cases or the manifest cannot be written.
        WorkerError: a process that read cases was killed.
    """
    for path in filter(None, (manifest, problems)):
        check_writable(path)
    listed = _listed(source, params, problems)
    with new_folder(cases) as folder:
        taken, found = _take_all(listed, folder)
        taken, alike, twins = _apart(taken, folder)
        found += twins
        _write_problems(found, problems)
        if not taken or (params.on_problem == "stop" and any(each.stops for each in found)):
            raise _refused(source, found)
        manifest.unlink(missing_ok=True)  # whoever is killed here leaves none of other cases
    layout = detect(source) if params.layout == AUTO else params.layout
    content = _content(taken, found, alike, layout, params.modality)
    with new_file(manifest) as path:
        path.write_text(json.dumps(content, indent=1))
    _tell(content, found)


def _listed(source: Path, params: IngestParams, problems: Path | None) -> list[Case]:
    """The dataset's cases; a layout that is broken stops all, for what is missing is unknown."""
    numbering = Numbering(**params.labels.model_dump())
    try:
        return find_cases(source, params.layout, modality=params.modality, numbering=numbering)
    except ScanError as error:
        lines = error.problems if isinstance(error, DatasetError) else [str(error)]
        found = [Problem.told(line, error.code, source.name) for line in lines]
        _write_problems(found, problems)
        raise _refused(source, found) from error


def _take_all(cases: Sequence[Case], folder: Path) -> tuple[list[Taken], list[Problem]]:
    results = in_processes(partial(_take, folder=folder), cases, who="ingest")
    taken = [one for one, _ in results if one is not None]
    return taken, [problem for _, found in results for problem in found]


def _take(case: Case, folder: Path) -> tuple[Taken | None, list[Problem]]:
    """Store a case that no rule stops, and say what is wrong with it."""
    try:
        scan, mask = case.load()
    except ScanError as error:
        return None, [Problem.of(case.id, error)]
    found = find_problems(case.id, scan, mask, case.modality)
    if any(problem.stops for problem in found):
        return None, found
    mask = Mask(mask.labels, scan.affine)
    write_scan(scan, folder / case.id / "scan.nii.gz")
    write_mask(mask, folder / case.id / "mask.nii.gz")
    return _described(case, scan, mask, found, folder / case.id), found


def _described(case: Case, scan: Scan, mask: Mask, found: Sequence[Problem], folder: Path) -> Taken:
    findings = measure(mask)
    warnings = [problem.code for problem in found]
    is_trusted = "spacing-missing" not in warnings
    row = {
        "id": case.id,
        "patient": case.patient,
        "modality": case.modality,
        "shape": list(scan.voxels.shape),
        "spacing_mm": [round(edge, 6) for edge in spacing_of(scan.affine)],
        "geometry_trusted": is_trusted,
        "liver_ml": round(findings.liver_ml, 3),
        "tumor_ml": round(findings.tumor_ml, 3),
        "tumors": len(findings.lesions),
        "warnings": warnings,
        "voxels_sha256": voxels_sha256(scan),
        "scan_sha256": sha256_of(folder / "scan.nii.gz"),
        "mask_sha256": sha256_of(folder / "mask.nii.gz"),
    }
    traits = traits_of(scan, mask, findings, is_trusted=is_trusted)
    return Taken(row, traits, thumbnail(scan, case.modality))


def _apart(
    taken: Sequence[Taken], folder: Path
) -> tuple[list[Taken], list[Likeness], list[Problem]]:
    """Take each scan once; tell of scans that are all but the same."""
    first: dict[str, str] = {}
    kept, found = [], []
    for one in taken:
        case, name = one.row["id"], one.row["voxels_sha256"]
        if name in first:
            rule = f"each scan must stand once, got the voxels of {first[name]}"
            found.append(Problem("same-scan-twice", case, rule))
            shutil.rmtree(folder / case)
        else:
            first[name] = case
            kept.append(one)
    alike = find_alike({one.row["id"]: one.thumbnail for one in kept})
    owner = {one.row["id"]: one.row["patient"] for one in kept}
    for pair in alike:
        if owner[pair.one] != owner[pair.other]:
            rule = (
                f"patients should look unlike, got correlation {pair.correlation} with {pair.one}"
            )
            found.append(Problem("near-duplicate", pair.other, rule))
    return kept, alike, found


def _content(
    taken: Sequence[Taken],
    found: Sequence[Problem],
    alike: Sequence[Likeness],
    layout: str,
    modality: Modality,
) -> dict[str, Any]:
    """The manifest."""
    fingerprint = fingerprint_of([one.traits for one in taken], modality)
    return {
        "version": 1,
        "layout": layout,
        "cases": [one.row for one in taken],
        "quarantined": [problem.to_json() for problem in found if problem.stops],
        "alike": [
            {"cases": [one, other], "correlation": correlation} for one, other, correlation in alike
        ],
        "fingerprint": fingerprint.model_dump(),
    }


def _write_problems(found: Sequence[Problem], target: Path | None) -> None:
    if target is not None:
        with new_file(target) as path:
            path.write_text(json.dumps([each.to_json() for each in found], indent=1) + "\n")


def _refused(source: Path, found: Sequence[Problem]) -> DatasetError:
    stops = [problem for problem in found if problem.stops]
    return DatasetError(source, table(found), remedies(stops))


def _tell(content: dict[str, Any], found: Sequence[Problem]) -> None:
    for line in (*table(found), *remedies(found)):
        print(f"  {line}")
    rows, left_out = content["cases"], {each["case"] for each in content["quarantined"]}
    quarantined = f", {len(left_out)} left out" if left_out else ""
    tumors = sum(row["tumor_ml"] > 0 for row in rows)
    print(f"ingest: {len(rows)} cases, {tumors} with tumors{quarantined}")
