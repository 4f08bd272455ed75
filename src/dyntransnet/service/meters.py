"""Our own counters on Triton's metrics page."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from dyntransnet.imaging.quality import Flag

PHASES = ("network", "grid", "mask", "report")
"""As ``imaging.answer`` names them."""


class Outcome(StrEnum):
    """How a request ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    LATE = "late"
    FAILED = "failed"


FAMILIES = {
    "dyntransnet_scans_total": ("Scans by how their request ended.", "outcome", tuple(Outcome)),
    "dyntransnet_windows_total": ("Windows that the network was asked for.", "", ("",)),
    "dyntransnet_phase_seconds": ("Seconds spent on scans, by phase.", "phase", PHASES),
    "dyntransnet_flags_total": ("Quality flags in reports.", "flag", tuple(Flag)),
}
"""Name to description, label and the label's values."""


class Meters:
    """The counters of one process; Triton adds up those of several.

    Args:
        triton: the module ``triton_python_backend_utils``.
    """

    def __init__(self, triton: Any) -> None:
        self._families = []
        self._counters: dict[tuple[str, str], Any] = {}
        for name, (description, label, values) in FAMILIES.items():
            family = triton.MetricFamily(
                name=name, description=description, kind=triton.MetricFamily.COUNTER
            )
            self._families.append(family)  # a counter ends with its family
            for value in values:
                # At 0 from the start: a rate needs two points.
                labels = {label: str(value)} if label else {}
                self._counters[name, str(value)] = family.Metric(labels=labels)

    def add(
        self,
        outcome: Outcome,
        *,
        windows: int,
        seconds: Mapping[str, float],
        flags: Iterable[str],
    ) -> None:
        """Count a request.

        Args:
            outcome: how it ended.
            windows: that the network was asked for.
            seconds: of each phase.
            flags: of its report.
        """
        self._counters["dyntransnet_scans_total", outcome].increment(1)
        self._counters["dyntransnet_windows_total", ""].increment(windows)
        for phase, taken in seconds.items():
            self._counters["dyntransnet_phase_seconds", phase].increment(taken)
        for flag in flags:
            self._counters["dyntransnet_flags_total", flag].increment(1)
