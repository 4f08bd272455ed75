"""All rules of one case, in the order in which they make sense."""

from functools import partial

from dyntransnet.contract import Modality
from dyntransnet.imaging.checks.grids import (
    check_not_snapped,
    check_pair,
    check_scan,
    check_spacing_known,
)
from dyntransnet.imaging.checks.labels import check_labeled, check_tumors_in_liver
from dyntransnet.imaging.checks.problems import Problem, broken
from dyntransnet.imaging.checks.values import check_fat, check_hounsfield, check_not_constant
from dyntransnet.imaging.scan import Mask, Scan


def find_problems(case: str, scan: Scan, mask: Mask, modality: Modality) -> list[Problem]:
    """What is wrong with a case.

    Args:
        case: its id.
        scan: as it was read.
        mask: as it was read.
        modality: rules of Hounsfield units are for CT alone.

    Returns:
        Every broken rule; where scan and mask lie on no common grid, that alone, for the
        other rules have nothing to stand on.
    """
    for check in (partial(check_scan, scan), partial(check_pair, scan, mask)):
        if found := list(broken(case, [check])):
            return found
    checks = [
        partial(check_spacing_known, scan),
        partial(check_not_snapped, scan, mask),
        partial(check_labeled, scan, mask),
        partial(check_tumors_in_liver, scan, mask),
        partial(check_not_constant, scan),
    ]
    if modality == "CT":
        checks += [partial(check_hounsfield, scan, mask), partial(check_fat, scan)]
    return list(broken(case, checks))
