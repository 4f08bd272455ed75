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
    case: CachedCase,
    center: np.ndarray,
    patch_size: tuple[int, int, int],
    window: tuple[int, int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A patch of image and label around a voxel, moved to lie inside the volume.

    Args:
        case: where it is cut from.
        center: a voxel; that of the patch, where the patch need not be moved.
        patch_size: voxels; where the volume is smaller, air surrounds it, as in inference.
        window: a larger size to cut around the patch. It is the patch that lies inside the
            volume: a network must meet the borders of a scan as inference shows them. Beyond
            them the outermost voxels are repeated.
    """
    inside, air, repeated = [], [], []
    for middle, size, length, wide in zip(
        center, case.image.shape, patch_size, window or patch_size, strict=True
    ):
        start = int(np.clip(middle - length // 2, 0, max(0, size - length)))
        missing, before = max(0, length - size), (wide - length) // 2
        first, last = start - before, start + length - missing + wide - length - before
        inside.append(slice(max(0, first), min(size, last)))
        air.append((missing // 2, missing - missing // 2))
        repeated.append((max(0, -first), max(0, last - size)))
    image, label = case.image[tuple(inside)], case.label[tuple(inside)]
    return (
        np.pad(np.pad(image, air, constant_values=case.air), repeated, mode="edge"),
        np.pad(np.pad(label, air), repeated, mode="edge"),
    )
