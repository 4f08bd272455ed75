"""From a scan to its mask: the one path that evaluation and serving share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from dyntransnet.contract import Contract, Label
from dyntransnet.imaging.checks.grids import check_scan
from dyntransnet.imaging.geometry import Matrices, Placement, Volume, resample_slabs
from dyntransnet.imaging.intensity import normalize, padding_of
from dyntransnet.imaging.lesions import measure
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.imaging.tiling import Predict, predict_tiled


@dataclass(frozen=True)
class Segmentation:
    """What a model says of a scan.

    Attributes:
        mask: labels on the scan's own grid.
        report: ``lesions.Findings`` as JSON, with ``network`` and ``model_sha256`` of
            the model that answered.
    """

    mask: Mask
    report: dict[str, Any]


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
        self, box: tuple[slice, slice, slice]
    ) -> Iterator[tuple[slice, Float32[np.ndarray, "classes _ _ _"]]]:
        """Bring a box of the scan's grid, some slices at a time: all at once is gigabytes.

        Args:
            box: along the scan's axes.

        Yields:
            Which slices of the box's last axis, and their probabilities, which the
            threshold turns into the mask that is served.
        """
        x, y, z = (matrix[rows] for matrix, rows in zip(self.placement.to_scan, box, strict=True))
        channels = [self.placement.on_scan_axes(channel) for channel in self.values]
        for slabs in zip(*(resample_slabs(one, (x, y, z)) for one in channels), strict=True):
            # Weights of a row may sum to a little more than 1.
            yield slabs[0][0], np.stack([values for _, values in slabs]).clip(0, 1)


def answer(scan: Scan, predict: Predict, contract: Contract) -> Segmentation:
    """Label a scan and measure what was found, as the server does.

    Raises:
        ScanError: the scan has no usable geometry.
    """
    mask = segment(scan, predict, contract)
    origin = {"network": contract.network.name, "model_sha256": contract.model_sha256}
    return Segmentation(mask, measure(mask).to_json() | origin)


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
        ScanError: the scan has no usable geometry.
    """
    found = probability_map(scan, predict, contract)
    return mask_on_scan(found.values, found.placement, scan, contract.threshold)


def probability_map(scan: Scan, predict: Predict, contract: Contract) -> ProbabilityMap:
    """What ``segment`` takes its threshold of.

    Args:
        scan: a scan of the contract's modality.
        predict: the network, windows to logits.
        contract: how the network wants its input and what its output means.

    Raises:
        ScanError: the scan has no usable geometry.
    """
    check_scan(scan)
    placement = Placement.of(scan.voxels.shape, scan.affine, contract.spacing_mm)
    volume = normalize(placement.volume_of(scan.voxels), contract.intensity)
    logits = predict_tiled(
        volume,
        predict,
        classes=len(contract.classes),
        patch_size=contract.patch_size,
        overlap=contract.overlap,
        padding=padding_of(volume, contract.intensity),
    )
    return ProbabilityMap(one_liver(nested(sigmoid(logits)), contract.threshold), placement)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logits to probabilities, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def nested(
    probabilities: Float32[np.ndarray, "classes x y z"],
) -> Float32[np.ndarray, "classes x y z"]:
    """Let the liver be at least as probable as the tumor, for a tumor is part of it.

    A lesion at the surface of the liver looks unlike it: where it was found, it counts.
    """
    liver, tumor = probabilities
    return np.stack([np.maximum(liver, tumor), tumor])


def one_liver(
    probabilities: Float32[np.ndarray, "classes x y z"], threshold: float
) -> Float32[np.ndarray, "classes x y z"]:
    """Silence every liver component but the largest: a patient has one liver."""
    pieces, count = ndimage.label(probabilities[0] >= threshold)
    if count < 2:
        return probabilities
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    kept = probabilities.copy()
    kept[0][(pieces > 0) & (pieces != largest)] = 0
    return kept


def mask_on_scan(
    probabilities: Float32[np.ndarray, "classes x y z"],
    placement: Placement,
    scan: Scan,
    threshold: float,
) -> Mask:
    """Bring probabilities to the scan's grid and take the threshold there.

    Only the box that can hold liver is computed: interpolation never exceeds the
    values it lies between.
    """
    labels = np.zeros(scan.voxels.shape, np.uint8, order="F")
    liver, tumor = (placement.on_scan_axes(scores) for scores in probabilities)
    if (liver >= threshold).any():
        box, matrices = _box(liver, placement.to_scan, threshold)
        inside = labels[box]
        slabs = zip(resample_slabs(liver, matrices), resample_slabs(tumor, matrices), strict=True)
        for (rows, p_liver), (_, p_tumor) in slabs:
            is_liver = p_liver >= threshold
            is_tumor = is_liver & (p_tumor >= threshold)
            inside[:, :, rows] = is_liver * np.uint8(Label.LIVER) + is_tumor
    return Mask(labels, scan.affine)


def _box(
    liver: Volume, to_scan: Matrices, threshold: float
) -> tuple[tuple[slice, slice, slice], Matrices]:
    """The scan voxels that some liver voxel of the network's grid reaches."""
    found = ndimage.find_objects((liver >= threshold).astype(np.uint8))[0]
    x, y, z = (
        np.flatnonzero(matrix[:, span].any(axis=1))
        for matrix, span in zip(to_scan, found, strict=True)
    )
    box = (slice(x[0], x[-1] + 1), slice(y[0], y[-1] + 1), slice(z[0], z[-1] + 1))
    along_x, along_y, along_z = (matrix[rows] for matrix, rows in zip(to_scan, box, strict=True))
    return box, (along_x, along_y, along_z)
