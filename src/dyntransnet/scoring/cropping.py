"""The part of two masks that scoring looks at."""

import numpy as np
from jaxtyping import UInt8

from dyntransnet.scoring.overlap import box_of, check_one_grid

Labels = UInt8[np.ndarray, "_ _ _"]


def crop_to_both(truth: Labels, predicted: Labels) -> tuple[Labels, Labels]:
    """Cut two masks to the box that holds all labels of both; one voxel where there are none.

    Raises:
        ScanError: the masks lie on different grids.
    """
    check_one_grid(truth, predicted)
    either = (truth | predicted) > 0
    box = box_of(either) if either.any() else (slice(1), slice(1), slice(1))
    return truth[box], predicted[box]
