"""What a scan takes of memory on its way to a mask, beside the network."""

from math import prod

from dyntransnet.contract import Contract, IntensityWindow
from dyntransnet.errors import ScanError
from dyntransnet.imaging.geometry import grid_shape
from dyntransnet.imaging.scan import Scan
from dyntransnet.memory import free_bytes

MIB = 2**20
FLOAT_BYTES = 4

SLAB_ARRAYS = 4
"""As deep as a window beside the classes' sums: their weights, input, and while it moves on two
more."""


def bytes_needed(scan: Scan, contract: Contract) -> int:
    """The least that is taken beside the scan: where liver is found, its mask comes on top.

    Probabilities are kept on the network's grid; all before them is as deep as one window.
    An MRI is whole on that grid, too: its z-score is of all of its body.
    """
    shape = grid_shape(scan.voxels.shape, scan.affine, contract.spacing_mm)
    x, y, z = (max(size, edge) for size, edge in zip(shape, contract.patch_size, strict=True))
    classes, depth = len(contract.classes), contract.patch_size[2]
    whole = classes if isinstance(contract.intensity, IntensityWindow) else classes + 1
    slabs = (classes + SLAB_ARRAYS) * x * y * min(depth, z)
    return FLOAT_BYTES * (whole * prod(shape) + slabs)


def check_memory(scan: Scan, contract: Contract) -> None:
    """Make sure that a scan can be segmented in what is free, before any of it is taken.

    Raises:
        ScanError: it cannot.
    """
    needed, free = bytes_needed(scan, contract), free_bytes()
    if needed > free:
        grid = grid_shape(scan.voxels.shape, scan.affine, contract.spacing_mm)
        raise ScanError(
            f"{scan.id}: must fit in memory, got {free // MIB} MiB free and {needed // MIB} MiB "
            f"to take for {' x '.join(map(str, grid))} voxels of the network's grid"
        )
