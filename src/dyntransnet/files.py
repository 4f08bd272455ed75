"""Scans on disk in, masks on disk out: what ``segment`` does."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from math import prod
from pathlib import Path

from dyntransnet.atomic import new_file
from dyntransnet.client import SegmentationClient
from dyntransnet.contract import Modality
from dyntransnet.errors import DynTransNetError, OutputError, ScanError
from dyntransnet.imaging.dicom.series import VOXEL_BYTES
from dyntransnet.imaging.pacs.inputs import inputs_in
from dyntransnet.imaging.pacs.results import write_results
from dyntransnet.imaging.pacs.source import SeriesScan
from dyntransnet.imaging.pacs.tree import Series
from dyntransnet.imaging.presets import Preset, tuned
from dyntransnet.imaging.scan import (
    READABLE,
    Mask,
    Scan,
    read_outline,
    read_scan,
    write_mask,
)
from dyntransnet.imaging.segment import Segmentation, answer
from dyntransnet.memory import free_bytes
from dyntransnet.runtimes.choice import load
from dyntransnet.scoring.metrics import score_case
from dyntransnet.targets import DICOM, beside, check_target, id_of, is_dicom, masks_for

Segmenter = Callable[[Scan], Segmentation]

AHEAD_SHARE = 0.2
"""Of free memory, that the next scan may take while one is segmented."""


@dataclass(frozen=True)
class Job:
    """One scan and where its results go.

    Attributes:
        scan: file to read, or DICOM series.
        mask: file to write; DICOM SEG where it ends in ``.dcm``.
        report: JSON file to write, or None.
        preview: PNG file to write, or None.
        structured: DICOM Structured Report to write, or None.
    """

    scan: Path | Series
    mask: Path
    report: Path | None
    preview: Path | None
    structured: Path | None = None


@contextmanager
def segmenter(
    url: str | None,
    model: Path | None,
    *,
    precision: str = "fp32",
    timeout_s: float,
    preset: Preset = Preset.STANDARD,
) -> Iterator[Segmenter]:
    """A way to have scans segmented: by a server, or by a model in this process.

    Args:
        url: host and gRPC port of a server; used where no model is given.
        model: a model folder, as ``export`` writes it.
        precision: what that computes in; a server has its own.
        timeout_s: budget of each call to a server.
        preset: what a mask may cost.

    Raises:
        ModelError: the model folder cannot be used.
        ServingError: the client's package is missing.
    """
    if model:
        predict, contract = tuned(preset, *load(model, "openvino", precision))
        yield lambda scan: answer(scan, predict, contract)
    else:
        with SegmentationClient(str(url), timeout_s=timeout_s) as client:
            yield lambda scan: client.segment(scan, preset)


def plan_jobs(
    scans: Sequence[Path],
    output: Path,
    *,
    report: bool,
    preview: bool,
    modality: Modality = "CT",
) -> list[Job]:
    """Decide, before any work, what is read and what is written.

    One scan file or one DICOM series, and an output with a suffix that can be written: that
    file. Else the output is a folder. There an image file's mask has its name, and a series'
    DICOM SEG is called after the content of its first slice: names of files may be a patient's.

    Args:
        scans: image files, folders of them, and folders or zips of DICOM series.
        output: a mask file (``.dcm``: DICOM SEG, of a series only), or a folder.
        report: whether a JSON report is written beside each mask, and a Structured Report
            beside each DICOM SEG.
        preview: whether a PNG picture is written beside each mask.
        modality: of the series; others are passed over.

    Raises:
        ScanError: a scan is missing, damaged or of an unknown format, or none is found.
        OutputError: a mask cannot be written where it would go, or two would go there.
    """
    inputs = [one for path in scans for one in inputs_in(path, modality)]
    if not inputs:
        raise ScanError(f"{scans[0]}: must hold scans ({', '.join(READABLE)}, DICOM), got none")
    masks = masks_for(inputs, output, names_a_file=len(scans) == 1 and scans[0].is_file())
    names = Counter(map(id_of, inputs))
    if twice := [name for name, count in names.items() if count > 1]:
        raise OutputError(f"{output}: each scan must have its own name, got {twice[0]} twice")
    for scan, mask in zip(inputs, masks, strict=True):
        check_target(scan, mask)
    return [
        Job(
            scan,
            mask,
            report=beside(mask, ".json") if report else None,
            preview=beside(mask, ".png") if preview else None,
            structured=beside(mask, f".sr{DICOM}") if report and is_dicom(mask) else None,
        )
        for scan, mask in zip(inputs, masks, strict=True)
    ]


def run_jobs(jobs: Sequence[Job], segment: Segmenter) -> Iterator[tuple[Job, Segmentation]]:
    """Segment scan files and write what was asked for, in order.

    While a scan is segmented, the next one is read and the last one's results are written.

    Yields:
        Each job whose results are written.

    Raises:
        DynTransNetError: a scan, the server or the output is at fault; what came before
            is written, and no file is left half-written.
    """
    written: Future[tuple[Job, Segmentation]] | None = None
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        reading = reader.submit(_read, jobs[0])
        for job, following in zip_longest(jobs, jobs[1:]):
            try:
                scan = reading.result()
                if following and _may_be_read_ahead(following):
                    reading = reader.submit(_read, following)
                    following = None
                found = segment(scan)
            except DynTransNetError:
                if written:
                    yield written.result()
                raise
            if written:
                yield written.result()
            written = writer.submit(_write, job, scan, found)
            if following:
                reading = reader.submit(_read, following)
        if written:
            yield written.result()


def _read(job: Job) -> Scan:
    if isinstance(job.scan, Series):
        return job.scan.read(for_dicom=is_dicom(job.mask))
    return read_scan(job.scan)


def _may_be_read_ahead(job: Job) -> bool:
    """Whether a scan leaves room for the one that is being segmented."""
    if isinstance(job.scan, Series):
        size = prod(job.scan.shape) * VOXEL_BYTES
    else:
        try:
            outline = read_outline(job.scan)
        except ScanError:
            return True  # reading it says why
        size = prod(outline.shape) * outline.voxel_bytes
    return size < AHEAD_SHARE * free_bytes()


def _write(job: Job, scan: Scan, found: Segmentation) -> tuple[Job, Segmentation]:
    if isinstance(scan, SeriesScan):
        write_results(found, scan, job.mask, report=job.structured)
    else:
        write_mask(found.mask, job.mask)
    if job.report:
        with new_file(job.report) as path:
            path.write_text(json.dumps({"case": scan.id, **found.report}, indent=1) + "\n")
    if job.preview:
        draw_preview(scan, found.mask, job.preview, truth=None)
    return job, found


def draw_preview(scan: Scan, mask: Mask, target: Path, *, truth: Mask | None) -> None:
    """Draw a mask, and the truth where it is known, on three planes of its scan."""
    from dyntransnet.scoring.figures import draw_overlay  # matplotlib is slow to import

    scores = score_case(truth, mask) if truth else {}
    shown = "  ".join(f"Dice {name} {row['dice']:.3f}" for name, row in scores.items())
    with new_file(target) as path:
        draw_overlay(scan, mask, path, truth=truth, title=f"{scan.id}  {shown}".strip())
