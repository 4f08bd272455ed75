"""Every rule of the data by its code: how grave a breach is, and what to do about it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dyntransnet.errors import ScanError


class Severity(StrEnum):
    """What a breach does to its case."""

    STOP = "stop"
    WARN = "warn"


@dataclass(frozen=True)
class Rule:
    """What a breach of a rule means, and the way out of it."""

    severity: Severity
    remedy: str


def _stop(remedy: str) -> Rule:
    return Rule(Severity.STOP, remedy)


def _warn(remedy: str) -> Rule:
    return Rule(Severity.WARN, remedy)


RULES = {
    "unusable": _stop("repair the case, or take it out of the dataset"),
    "layout": _stop("lay the files out as ingest.layout says: docs/data.md"),
    "modality-other": _stop("say in ingest.modality what the scans are, or take the case out"),
    "series-not-one": _stop("leave one series of ingest.modality in each folder"),
    "mask-not-one": _stop("leave one mask in each folder: DICOM SEG files, or one image file"),
    "multi-frame": _stop("convert the series to one file a slice"),
    "slice-place": _stop("export the series again: slices need position, direction and spacing"),
    "slices-unlike": _stop("take out the slices that belong to another series"),
    "slices-doubled": _stop("put each phase into a folder of its own"),
    "slices-missing": _stop("fetch the series again: some slices did not arrive"),
    "slices-uneven": _stop("resample the series to slices of one distance"),
    "segments-no-liver": _stop("code a segment as liver, SCT 10200004, or give an image file"),
    "file-missing": _stop("put a file there, or take the case out"),
    "unreadable": _stop("fetch the file again, or convert it with a tool that can read it"),
    "gzip-damaged": _stop("fetch the file again: it was cut off or changed on its way"),
    "size-invalid": _stop("write the header again: every edge needs at least one voxel"),
    "size-not-header": _stop("fetch the file again: it holds other bytes than its header says"),
    "too-large": _stop("crop or resample the scan, and store CT as int16"),
    "not-3d": _stop("store one 3D image to a file"),
    "voxels-complex": _stop("store the magnitude"),
    "voxels-color": _stop("store Hounsfield units, not a picture"),
    "not-finite": _stop("replace NaN and infinite voxels, by -1024 outside a CT's field of view"),
    "label-unknown": _stop("say in ingest.labels which values are liver and tumor"),
    "edge-short": _stop("a single slice is no scan: take the case out"),
    "affine-singular": _stop("write the affine again from the original series"),
    "affine-sheared": _stop("resample to a grid with right angles, as after a tilted gantry"),
    "spacing-unit": _stop("write the spacing in millimeters, and the unit that the header names"),
    "spacing-contradicts": _stop("make pixdim and sform say the same: tools believe either"),
    "spacing-missing": _warn("give the true spacing; till then no mm or ml of it means anything"),
    "mask-shape": _stop("draw or resample the mask on its scan's grid"),
    "mask-off-grid": _stop("resample the mask to its scan's grid, or give it the scan's header"),
    "mask-snapped": _warn("nothing: the mask gets its scan's header"),
    "mask-empty": _stop("label the liver, or take the case out"),
    "tumor-outside-liver": _stop("look whether the labels are swapped or belong to another scan"),
    "tumor-stray": _warn("look at the mask: a label may have been spilled"),
    "voxels-constant": _stop("fetch the file again: it shows nothing"),
    "not-hounsfield": _stop("apply the rescale slope and intercept, often 1 and -1024"),
    "hounsfield-no-fat": _warn("look whether values were shifted, or cut off at 0"),
    "same-scan-twice": _stop("keep one of them"),
    "near-duplicate": _warn("nothing, if they are one patient's: split keeps both on one side"),
    "patient-in-two-groups": _stop("put all scans of the patient on one side"),
    "scan-in-two-groups": _stop("put both copies on one side, or keep one"),
    "near-duplicate-in-two-groups": _stop("put both scans on one side"),
}
"""In the order in which a case meets them."""


@dataclass(frozen=True)
class Problem:
    """A rule that a case breaks.

    Attributes:
        code: a key of ``RULES``.
        case: the case's id.
        found: the rule in words, and the value that was found.
    """

    code: str
    case: str
    found: str

    @classmethod
    def of(cls, case: str, error: ScanError) -> "Problem":
        """What a check raised."""
        return cls(error.code, case, str(error).removeprefix(f"{case}: "))

    @classmethod
    def told(cls, line: str, code: str, otherwise: str) -> "Problem":
        """What a line says that names its case first; of ``otherwise`` where it names none."""
        case, colon, rule = line.partition(": ")
        return cls(code, case, rule) if colon else cls(code, otherwise, line)

    @property
    def rule(self) -> Rule:
        """Severity and remedy."""
        return RULES[self.code]

    @property
    def stops(self) -> bool:
        """Whether the case cannot be used."""
        return self.rule.severity is Severity.STOP

    def to_json(self) -> dict[str, str]:
        """As plain values, for JSON."""
        return {
            "case": self.case,
            "code": self.code,
            "severity": self.rule.severity.value,
            "found": self.found,
            "remedy": self.rule.remedy,
        }


def broken(case: str, checks: Iterable[Callable[[], None]]) -> Iterator[Problem]:
    """Run checks that raise; each one that does is a problem."""
    for check in checks:
        try:
            check()
        except ScanError as error:
            yield Problem.of(case, error)


def table(problems: Sequence[Problem]) -> list[str]:
    """A line for each problem, in columns: case, severity, code, what was found."""
    rows = [(each.case, each.rule.severity.value, each.code) for each in problems]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), end])
        for row, end in zip(rows, (each.found for each in problems), strict=True)
    ]


def remedies(problems: Sequence[Problem]) -> list[str]:
    """A line for each code: what to do about it."""
    codes = {each.code for each in problems}
    return [f"{code}: {rule.remedy}" for code, rule in RULES.items() if code in codes]
