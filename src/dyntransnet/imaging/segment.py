"""From a scan to its mask: the one path that evaluation and serving share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from dyntransnet.contract import Contract, IntensityRule, IntensityWindow, Label
from dyntransnet.errors import ScanError
from dyntransnet.imaging.checks.grids import check_scan
from dyntransnet.imaging.geometry import Placement, box_of, resample_slabs
from dyntransnet.imaging.intensity import AIR, normalize, padding_of
from dyntransnet.imaging.needs import check_memory
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.imaging.tiling import Predict, Source, Tiling, Watch, predict_slices


@dataclass(frozen=True)
class Segmentation:
    """What a model says of a scan.

    Attributes:
        mask: labels on the scan's own grid.
        report: ``lesions.Findings`` as JSON, with ``network`` and ``model_sha256`` of
            the model that answered, and ``quality.Quality``.
        probabilities: of whole liver and tumor on the scan's grid, 255 for 1; None where
            they were not asked for.
    """

    mask: Mask
    report: dict[str, Any]
    probabilities: UInt8[np.ndarray, "classes x y z"] | None = None


@dataclass(frozen=True)
class ProbabilityMap:
    """How sure a network is, before any threshold.

    Attributes:
        values: in [0, 1] on the network's grid, one channel for each class; of the
            liver's pieces all but the largest are 0.
        placement: of that grid on the scan's.
    """

    values: Float32[np.ndarray, "classes x y z"]
    placement: Placement

    def within(
        self, box: tuple[slice, slice, slice], classes: slice = slice(None)
    ) -> Iterator[tuple[slice, Float32[np.ndarray, "classes _ _ _"]]]:
        """Bring a box of the scan's grid, some slices at a time: all at once is gigabytes.

        Args:
            box: along the scan's axes.
            classes: which of them.

        Yields:
            Which slices of the box's last axis, and their probabilities, which the
            threshold turns into the mask that is served.
        """
        x, y, z = (matrix[rows] for matrix, rows in zip(self.placement.to_scan, box, strict=True))
        channels = [self.placement.on_scan_axes(channel) for channel in self.values[classes]]
        for slabs in zip(*(resample_slabs(one, (x, y, z)) for one in channels), strict=True):
            # Weights of a row may sum to a little more than 1.
            yield slabs[0][0], np.stack([values for _, values in slabs]).clip(0, 1)


def segment(scan: Scan, predict: Predict, contract: Contract) -> Mask:
    """Label a scan on its own grid.

    Args:
        scan: a scan of the contract's modality.
        predict: the network, windows to logits.
        contract: how the network wants its input and what its output means.

    Returns:
        0 background, 1 liver, 2 tumor; what is tumor belongs to the liver, and of the
        liver's pieces on the network's grid only the largest is left.

    Raises:
        ScanError: the scan has no usable geometry, or does not fit in memory.
    """
    try:
        found = probability_map(scan, predict, contract)
        return mask_on_scan(found.values, found.placement, scan, contract.threshold)
    except MemoryError as error:
        raise ScanError(f"{scan.id}: must fit in memory, got none left") from error


def probability_map(
    scan: Scan, predict: Predict, contract: Contract, watch: Watch | None = None
) -> ProbabilityMap:
    """What ``segment`` takes its threshold of.

    Args:
        scan: a scan of the contract's modality.
        predict: the network, windows to logits.
        contract: how the network wants its input and what its output means.
        watch: told of every window.

    Raises:
        ScanError: the scan has no usable geometry.
    """
    check_scan(scan)
    check_memory(scan, contract)
    placement = Placement.of(scan.voxels.shape, scan.affine, contract.spacing_mm)
    source, around = _network_input(scan, placement, contract.intensity)
    tiling = Tiling(len(contract.classes), contract.patch_size, contract.overlap, around)
    values = predict_slices(
        source, placement.shape, predict, tiling, lambda logits: nested(sigmoid(logits)), watch
    )
    return ProbabilityMap(one_liver(values, contract.threshold), placement)


def _network_input(scan: Scan, placement: Placement, rule: IntensityRule) -> tuple[Source, float]:
    """What the network sees slice by slice, and what surrounds it."""
    if isinstance(rule, IntensityWindow):  # each voxel by itself: nothing is ever whole
        return lambda rows: normalize(placement.slices_of(scan.voxels, rows), rule), AIR
    volume = normalize(placement.volume_of(scan.voxels), rule)
    return lambda rows: volume[:, :, rows], padding_of(volume, rule)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logits to probabilities, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def nested(
    probabilities: Float32[np.ndarray, "classes x y z"],
) -> Float32[np.ndarray, "classes x y z"]:
    """Let the liver be at least as probable as the tumor, in place: a tumor is part of it.

    A lesion at the surface of the liver looks unlike it: where it was found, it counts.
    """
    liver, tumor = probabilities
    np.maximum(liver, tumor, out=liver)
    return probabilities


def one_liver(
    probabilities: Float32[np.ndarray, "classes x y z"], threshold: float
) -> Float32[np.ndarray, "classes x y z"]:
    """Silence every liver component but the largest, in place: a patient has one liver."""
    liver = probabilities[0]
    inside = liver >= threshold
    if not inside.any():
        return probabilities
    box = box_of(inside)
    pieces, count = ndimage.label(inside[box])
    del inside
    if count > 1:
        sizes = np.zeros(count + 1, np.int64)
        for plane in pieces:
            sizes += np.bincount(plane.ravel(), minlength=count + 1)
        largest = 1 + int(np.argmax(sizes[1:]))
        # Plane by plane: with all at once, labels as large as the scan would be copied.
        for plane, piece in zip(liver[box], pieces, strict=True):
            plane[(piece > 0) & (piece != largest)] = 0
    return probabilities


def mask_on_scan(
    probabilities: Float32[np.ndarray, "classes x y z"],
    placement: Placement,
    scan: Scan,
    threshold: float,
) -> Mask:
    """Bring probabilities to the scan's grid and take the threshold there.

    Of each class only the box that can hold it is computed.
    """
    labels = np.zeros(scan.voxels.shape, np.uint8, order="F")
    for label, scores in zip((Label.LIVER, Label.TUMOR), probabilities, strict=True):
        for box, values in placement.reached_by(scores, threshold):
            # Each class lies within the one before it.
            labels[box] += (values >= threshold) & (labels[box] == label - 1)
    return Mask(labels, scan.affine)
