"""A segmentation of a series as DICOM files."""

from pathlib import Path

from dyntransnet.imaging.pacs.maker import Maker, save, telling
from dyntransnet.imaging.pacs.seg_file import segmentation_of
from dyntransnet.imaging.pacs.source import SeriesScan
from dyntransnet.imaging.pacs.sr_file import report_of
from dyntransnet.imaging.segment import Segmentation


def write_results(
    found: Segmentation, scan: SeriesScan, target: Path, *, report: Path | None
) -> None:
    """Write a DICOM SEG, and a Structured Report that refers to it.

    Args:
        found: mask and report of the scan.
        scan: whose patient and study they get.
        target: DICOM SEG to write.
        report: Structured Report to write, or None.

    Raises:
        OutputError: highdicom is missing, a place cannot be written to, or a header of the
            source does not fit; no file is left half-written.
    """
    maker = Maker.of(found.report)
    with telling(scan.id):
        segmentation = segmentation_of(found.mask, scan, maker)
        measured = report_of(found.report, segmentation, scan, maker) if report else None
        save(segmentation, target)
        if report and measured is not None:
            save(measured, report)
