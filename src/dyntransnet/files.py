"""Scans on disk in, masks on disk out: what ``segment`` does."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dyntransnet.atomic import check_writable, new_file
from dyntransnet.client import SegmentationClient
from dyntransnet.errors import OutputError, ScanError
from dyntransnet.imaging.folders import images_in, named_twice
from dyntransnet.imaging.presets import Preset, tuned
from dyntransnet.imaging.scan import (
    READABLE,
    Mask,
    Scan,
    case_id_of,
    check_mask_path,
    write_mask,
)
from dyntransnet.imaging.segment import Segmentation, answer
from dyntransnet.runtimes.choice import load
from dyntransnet.scoring.metrics import score_case


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

    @property
    def results(self) -> list[Path]:
        """The files to write, the mask first."""
        return [self.mask, *filter(None, (self.report, self.preview))]


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
    url: str, *, timeout_s: float, preset: Preset = Preset.STANDARD, **connection: Any
) -> Iterator[Segmenter]:
    """Have scans segmented by a server; several threads may ask.

    Args:
        url: host and gRPC port; several with commas.
        timeout_s: budget of each call.
        preset: what a mask may cost.
        connection: further arguments of ``SegmentationClient``.

    Raises:
        ServingError: the client's package is missing, or an argument is wrong.
    """
    with SegmentationClient(url, timeout_s=timeout_s, **connection) as client:
        yield Segmenter(
            lambda scan: client.segment(scan, preset),
            client.origin,
            {"by": "server", "preset": preset.value, "version": version("dyntransnet")},
        )


@contextmanager
def here(model: Path, precision: str, preset: Preset = Preset.STANDARD) -> Iterator[Segmenter]:
    """Have scans segmented by a model in this process.

    Args:
        model: a model folder, as ``export`` writes it.
        precision: what it computes in.
        preset: what a mask may cost.

    Raises:
        ModelError: the model folder cannot be used.
    """
    predict, contract = tuned(preset, *load(model, "openvino", precision))
    by = f"openvino {precision}"
    yield Segmenter(
        lambda scan: answer(scan, predict, contract),
        lambda: {"network": contract.network.name, "model_sha256": str(contract.model_sha256)},
        {"by": by, "preset": preset.value, "version": version("dyntransnet")},
    )


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


def write_results(job: Job, scan: Scan, found: Segmentation) -> None:
    """Write what a job asks for.

    Raises:
        OutputError: that cannot be done; no file is left half-written.
    """
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


def _mask_name(scan: Path) -> str:
    """A mask is written as NIfTI where the scan's format cannot be one file."""
    return f"{case_id_of(scan)}.nii.gz" if scan.suffix.lower() == ".mhd" else scan.name


def _beside(mask: Path, suffix: str) -> Path:
    return mask.with_name(case_id_of(mask) + suffix)
