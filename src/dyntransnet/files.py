"""Scans on disk in, masks on disk out: what ``segment`` does."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

from dyntransnet.atomic import new_file
from dyntransnet.client import SegmentationClient
from dyntransnet.client.progress import Listener, watch_for
from dyntransnet.contract import Modality
from dyntransnet.errors import OutputError, ScanError
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.dicom.series import VOXEL_BYTES
from dyntransnet.imaging.fingerprint import read_fingerprint
from dyntransnet.imaging.pacs.inputs import inputs_in
from dyntransnet.imaging.pacs.results import write_results as write_dicom
from dyntransnet.imaging.pacs.source import SeriesScan
from dyntransnet.imaging.pacs.tree import Series
from dyntransnet.imaging.presets import Preset, tuned
from dyntransnet.imaging.scan import READABLE, Mask, Scan, read_outline, read_scan, write_mask
from dyntransnet.imaging.segment import Segmentation
from dyntransnet.runtimes.choice import load
from dyntransnet.scoring.metrics import score_case
from dyntransnet.targets import DICOM, beside, check_target, id_of, is_dicom, masks_for

RUNTIME = "openvino"
"""Of a model that runs in this process."""


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

    @property
    def id(self) -> str:
        """What messages and results call the scan."""
        return id_of(self.scan)

    @property
    def source(self) -> Path:
        """The file or folder that is read."""
        return self.scan.origin if isinstance(self.scan, Series) else self.scan

    @property
    def shown(self) -> str:
        """What may be printed of where it lies: the folder of a series may be a patient's name."""
        return self.id if isinstance(self.scan, Series) else str(self.scan)

    @property
    def results(self) -> list[Path]:
        """The files to write, the mask first."""
        return [self.mask, *filter(None, (self.report, self.preview, self.structured))]

    def read(self) -> Scan:
        """Read the scan.

        Raises:
            ScanError: it is missing, damaged or no scan.
        """
        if isinstance(self.scan, Series):
            return self.scan.read(for_dicom=is_dicom(self.mask))
        return read_scan(self.scan)

    def scan_bytes(self) -> int:
        """What the scan takes of memory, from its header.

        Raises:
            ScanError: it cannot be read.
        """
        if isinstance(self.scan, Series):
            return prod(self.scan.shape) * VOXEL_BYTES
        outline = read_outline(self.scan)
        return prod(outline.shape) * outline.voxel_bytes


@dataclass(frozen=True)
class Segmenter:
    """A way to have scans segmented.

    Attributes:
        ask: a scan to what is found in it.
        origin: which model answers, as reports say it.
        options: what else decides how a mask comes out.
    """

    ask: Callable[[Scan], Segmentation]
    origin: Callable[[], dict[str, str]]
    options: dict[str, str]


@contextmanager
def served(
    url: str,
    *,
    timeout_s: float,
    preset: Preset = Preset.STANDARD,
    listener: Listener | None = None,
    **connection: Any,
) -> Iterator[Segmenter]:
    """Have scans segmented by a server; several threads may ask.

    Args:
        url: host and gRPC port; several with commas.
        timeout_s: budget of each call.
        preset: what a mask may cost.
        listener: told of each step, from the threads that ask.
        connection: further arguments of ``SegmentationClient``.

    Raises:
        ServingError: the client's package is missing, or an argument is wrong.
    """
    with SegmentationClient(url, timeout_s=timeout_s, **connection) as client:
        yield Segmenter(
            lambda scan: client.segment(scan, preset, on_progress=listener),
            client.origin,
            {"by": "server", "preset": preset.value, "version": version("dyntransnet")},
        )


@contextmanager
def here(
    model: Path,
    precision: str,
    preset: Preset = Preset.STANDARD,
    *,
    listener: Listener | None = None,
) -> Iterator[Segmenter]:
    """Have scans segmented by a model in this process.

    Args:
        model: a model folder, as ``export`` writes it.
        precision: what it computes in.
        preset: what a mask may cost.
        listener: told of windows.

    Raises:
        ModelError: the model folder cannot be used.
    """
    predict, contract = tuned(preset, *load(model, RUNTIME, precision))
    seen, how = read_fingerprint(model), {"runtime": RUNTIME, "precision": precision}

    def ask(scan: Scan) -> Segmentation:
        watch = watch_for(listener, scan.id) if listener else None
        found = answer(scan, predict, contract, fingerprint=seen, watch=watch)
        return replace(found, report=found.report | how)

    network = {"network": contract.network.name, "model_sha256": str(contract.model_sha256)}
    yield Segmenter(
        ask,
        lambda: network | how,
        {"by": "model", "preset": preset.value, "version": version("dyntransnet")},
    )


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


def write_results(job: Job, scan: Scan, found: Segmentation) -> None:
    """Write what a job asks for.

    Raises:
        OutputError: that cannot be done; no file is left half-written.
    """
    if isinstance(scan, SeriesScan):
        write_dicom(found, scan, job.mask, report=job.structured)
    else:
        write_mask(found.mask, job.mask)
    if job.report:
        with new_file(job.report) as path:
            path.write_text(json.dumps({"case": scan.id, **found.report}, indent=1) + "\n")
    if job.preview:
        draw_preview(scan, found.mask, job.preview, truth=None)


def draw_preview(scan: Scan, mask: Mask, target: Path, *, truth: Mask | None) -> None:
    """Draw a mask, and the truth where it is known, on three planes of its scan."""
    from dyntransnet.scoring.figures import draw_overlay  # matplotlib is slow to import

    scores = score_case(truth, mask) if truth else {}
    shown = "  ".join(f"Dice {name} {row['dice']:.3f}" for name, row in scores.items())
    with new_file(target) as path:
        draw_overlay(scan, mask, path, truth=truth, title=f"{scan.id}  {shown}".strip())
