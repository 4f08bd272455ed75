"""Datasets as their authors lay them out on disk, as one list of cases."""

from dyntransnet.imaging.layouts.case import Case
from dyntransnet.imaging.layouts.finding import LAYOUTS, find_cases

__all__ = ["LAYOUTS", "Case", "find_cases"]
