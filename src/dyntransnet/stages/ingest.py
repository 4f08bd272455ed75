"""Take a dataset in: read it as its authors ship it, check it, store it one way.

Writes ``cases/<id>/scan.nii.gz`` and ``mask.nii.gz``, and a manifest with geometry,
volumes and hashes. Nothing is written unless every case is sound.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from dyntransnet.atomic import check_writable, new_file, new_folder, sha256_of
from dyntransnet.config import IngestParams
from dyntransnet.errors import DatasetError, ScanError
from dyntransnet.imaging.checks import check_pair, check_scan
from dyntransnet.imaging.labels import Numbering
from dyntransnet.imaging.layouts import Case, find_cases
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import spacing_of, write_mask, write_scan

Row = dict[str, Any]


def run(source: Path, *, cases: Path, manifest: Path, params: IngestParams) -> None:
    """Store a dataset's cases and describe them.

    Args:
        source: the dataset: a folder, or the recipes of phantoms.
        cases: folder to write, one subfolder per case.
        manifest: JSON file to write.
        params: how it is laid out.

    Raises:
        DatasetError: some cases break a rule; all of them are listed.
        OutputError: the cases or the manifest cannot be written.
    """
    check_writable(manifest)
    numbering = Numbering(**params.labels.model_dump())
    found = find_cases(source, params.layout, modality=params.modality, numbering=numbering)
    with new_folder(cases) as folder:
        results = _store_all(found, folder)
        problems = [result for result in results if isinstance(result, str)]
        if problems:
            raise DatasetError(source, problems)
    with new_file(manifest) as path:
        path.write_text(
            json.dumps({"version": 1, "layout": params.layout, "cases": results}, indent=1)
        )
    print(
        f"ingest: {len(results)} cases, {sum(row['tumor_ml'] > 0 for row in results)} with tumors"
    )


def _store_all(cases: list[Case], folder: Path) -> list[Any]:
    # Spawned, not forked: forking a process that has threads can hang.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(_store, folder=folder), cases))


def _store(case: Case, folder: Path) -> Row | str:
    """A case's manifest row, or what is wrong with it."""
    try:
        scan, mask = case.load()
        check_scan(scan)
        check_pair(scan, mask)
    except ScanError as error:
        return str(error)
    write_scan(scan, folder / case.id / "scan.nii.gz")
    write_mask(mask, folder / case.id / "mask.nii.gz")
    findings = measure(mask)
    return {
        "id": case.id,
        "patient": case.patient,
        "modality": case.modality,
        "shape": list(scan.voxels.shape),
        "spacing_mm": [round(edge, 6) for edge in spacing_of(scan.affine)],
        "liver_ml": round(findings.liver_ml, 3),
        "tumor_ml": round(findings.tumor_ml, 3),
        "tumors": len(findings.lesions),
        "scan_sha256": sha256_of(folder / case.id / "scan.nii.gz"),
        "mask_sha256": sha256_of(folder / case.id / "mask.nii.gz"),
    }
