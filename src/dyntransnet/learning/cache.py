"""The cases that ``preprocess`` wrote, memory-mapped, and windows of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float16, Int16, UInt8

from dyntransnet.imaging.intensity import AIR


@dataclass(frozen=True)
class CachedCase:
    """One case of the cache, memory-mapped.

    Attributes:
        id: the case.
        image: network input.
        label: 0 background, 1 liver, 2 tumor.
        liver: indices of liver voxels.
        tumor: indices of tumor voxels.
        air: what surrounds the image.
    """

    id: str
    image: Float16[np.ndarray, "x y z"]
    label: UInt8[np.ndarray, "x y z"]
    liver: Int16[np.ndarray, "livers 3"]
    tumor: Int16[np.ndarray, "tumors 3"]
    air: float = AIR

    @classmethod
    def open(cls, folder: Path) -> "CachedCase":
        """Map a case's arrays; nothing is read yet."""
        image, label, liver, tumor = (
            np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in ("image", "label", "liver", "tumor")
        )
        return cls(folder.name, image, label, liver, tumor, float(np.load(folder / "air.npy")))


def cut(
    case: CachedCase, center: np.ndarray, edge: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A window of image and label around a voxel, moved to lie inside the volume.

    Where the volume is smaller than the window, air surrounds it.
    """
    inside, widths = [], []
    for middle, size, length in zip(center, case.image.shape, edge, strict=True):
        start = int(np.clip(middle - length // 2, 0, max(0, size - length)))
        missing = max(0, length - size)
        inside.append(slice(start, start + length))
        widths.append((missing // 2, missing - missing // 2))
    window = tuple(inside)
    return (
        np.pad(case.image[window], widths, constant_values=case.air),
        np.pad(case.label[window], widths),
    )
