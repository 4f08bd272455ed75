"""Scans on disk in, masks on disk out: what ``segment`` does."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from math import prod
from pathlib import Path

from dyntransnet.atomic import check_writable, new_file
from dyntransnet.client import SegmentationClient
from dyntransnet.errors import DynTransNetError, OutputError, ScanError
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.fingerprint import read_fingerprint
from dyntransnet.imaging.folders import images_in, named_twice
from dyntransnet.imaging.presets import Preset, tuned
from dyntransnet.imaging.scan import (
    READABLE,
    Mask,
    Scan,
    case_id_of,
    check_mask_path,
    read_outline,
    read_scan,
    write_mask,
)
from dyntransnet.imaging.segment import Segmentation
from dyntransnet.memory import free_bytes
from dyntransnet.runtimes.choice import load
from dyntransnet.scoring.metrics import score_case

Segmenter = Callable[[Scan], Segmentation]

AHEAD_SHARE = 0.2
"""Of free memory, that the next scan may take while one is segmented."""


@dataclass(frozen=True)
class Job:
    """One scan and where its results go.

    Attributes:
        scan: file to read.
        mask: file to write.
        report: JSON file to write, or None.
        preview: PNG file to write, or None.
    """

    scan: Path
    mask: Path
    report: Path | None
    preview: Path | None


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
        seen = read_fingerprint(model)
        yield lambda scan: answer(scan, predict, contract, fingerprint=seen)
    else:
        with SegmentationClient(str(url), timeout_s=timeout_s) as client:
            yield lambda scan: client.segment(scan, preset)


def plan_jobs(scans: Sequence[Path], output: Path, *, report: bool, preview: bool) -> list[Job]:
    """Decide, before any work, what is read and what is written.

    One scan file and an output with an image suffix: that file. Else the output is a
    folder, and each mask has its scan's name.

    Args:
        scans: files, or folders whose scans are taken.
        output: a mask file, or a folder.
        report: whether a JSON report is written beside each mask.
        preview: whether a PNG picture is written beside each mask.

    Raises:
        ScanError: a scan is missing or of an unknown format, or none is found.
        OutputError: a mask cannot be written where it would go, or two would go there.
    """
    files = [file for path in scans for file in images_in(path)]
    if not files:
        raise ScanError(f"{scans[0]}: must hold scans ({', '.join(READABLE)}), got none")
    to_file = len(files) == 1 and scans[0].is_file() and not output.is_dir() and output.suffix
    masks = [output] if to_file else [output / _mask_name(file) for file in files]
    if twice := named_twice(files):
        raise OutputError(f"{output}: each scan must have its own name, got {twice[0]} twice")
    for file, mask in zip(files, masks, strict=True):
        check_mask_path(mask)
        check_writable(mask)
        if mask.exists() and mask.samefile(file):
            raise OutputError(f"{mask}: must not be the scan itself, got the same file")
    return [
        Job(
            file,
            mask,
            report=_beside(mask, ".json") if report else None,
            preview=_beside(mask, ".png") if preview else None,
        )
        for file, mask in zip(files, masks, strict=True)
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
        reading = reader.submit(read_scan, jobs[0].scan)
        for job, following in zip_longest(jobs, jobs[1:]):
            try:
                scan = reading.result()
                if following and _may_be_read_ahead(following.scan):
                    reading = reader.submit(read_scan, following.scan)
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
                reading = reader.submit(read_scan, following.scan)
        if written:
            yield written.result()


def _may_be_read_ahead(path: Path) -> bool:
    """Whether a scan leaves room for the one that is being segmented."""
    try:
        outline = read_outline(path)
    except ScanError:
        return True  # reading it says why
    return prod(outline.shape) * outline.voxel_bytes < AHEAD_SHARE * free_bytes()


def _write(job: Job, scan: Scan, found: Segmentation) -> tuple[Job, Segmentation]:
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


def _mask_name(scan: Path) -> str:
    """A mask is written as NIfTI where the scan's format cannot be one file."""
    return f"{case_id_of(scan)}.nii.gz" if scan.suffix.lower() == ".mhd" else scan.name


def _beside(mask: Path, suffix: str) -> Path:
    return mask.with_name(case_id_of(mask) + suffix)
