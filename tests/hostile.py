"""Files that want to crash, hang or fill whoever reads them."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

Triple = tuple[float, float, float]

SHAPE = (9, 7, 8)
VOXELS = np.arange(np.prod(SHAPE), dtype="<i2").tobytes()
ZEROS = gzip.compress(bytes(2**26))
"""64 MiB in 64 kB; gzip members may stand one after another."""


def header(
    *,
    dim: tuple[int, ...] = (3, *SHAPE),
    datatype: int = 4,
    pixdim: Triple = (1.5, 0.8, 3.0),
    at: float = 352,
    units: int = 2,
    sform: np.ndarray | None = None,
    magic: bytes = b"n+1\0",
) -> bytearray:
    """A NIfTI-1 header with the four bytes that follow it."""
    stored = bytearray(352)
    axes = np.diag([*pixdim, 1.0])[:3] if sform is None else sform
    struct.pack_into("<i", stored, 0, 348)
    struct.pack_into("<8h", stored, 40, *(dim + (1,) * 8)[:8])
    struct.pack_into("<2h", stored, 70, datatype, 16)
    struct.pack_into("<8f", stored, 76, 1, *pixdim, 0, 0, 0, 0)
    struct.pack_into("<2f", stored, 108, at, 1)
    struct.pack_into("<B", stored, 123, units)
    struct.pack_into("<2h", stored, 252, 0, 1)
    struct.pack_into("<12f", stored, 280, *np.ravel(axes))
    stored[344:348] = magic
    return stored


def axes(**changes: float) -> np.ndarray:
    """An sform that fits the pixdim of ``header`` but for some entries, such as ``xy``."""
    found = np.diag([1.5, 0.8, 3.0, 1.0])[:3]
    for place, value in changes.items():
        found["xyz".index(place[0]), "xyz".index(place[1])] = value
    return found


def _changed(stored: bytes, at: int) -> bytes:
    return stored[:at] + bytes([stored[at] ^ 0xFF]) + stored[at + 1 :]


WHOLE = bytes(header()) + VOXELS
PACKED = gzip.compress(WHOLE, mtime=0)
HUGE = (3, 32767, 32767, 32767)

CONTENTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "unreadable"),
    "text": (b"patient,age\n1,64\n" * 40, "unreadable"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(600), "unreadable"),
    "noise": (np.random.default_rng(0).bytes(5000), "unreadable"),
    "other_magic": (bytes(header(magic=b"nope")) + VOXELS, "unreadable"),
    "half_a_header": (WHOLE[:200], "unreadable"),
    "header_alone": (WHOLE[:352], "size-not-header"),
    "cut_off": (WHOLE[:-1], "size-not-header"),
    "gzip_cut_off": (PACKED[:-9], "gzip-damaged"),
    "gzip_other_checksum": (_changed(PACKED, len(PACKED) - 6), "gzip-damaged"),
    "gzip_other_content": (_changed(PACKED, len(PACKED) // 2), "gzip-damaged"),
    "gzip_and_garbage": (PACKED + b"garbage", "gzip-damaged"),
    "gzip_of_text": (gzip.compress(b"no image" * 100), "unreadable"),
    "gzip_magic_alone": (b"\x1f\x8b", "gzip-damaged"),
    "no_edges": (bytes(header(dim=(0, *SHAPE))) + VOXELS, "size-invalid"),
    "99_edges": (bytes(header(dim=(99, *SHAPE))) + VOXELS, "size-invalid"),
    "zero_edge": (bytes(header(dim=(3, 0, 7, 8))) + VOXELS, "size-invalid"),
    "negative_edge": (bytes(header(dim=(3, 9, -7, 8))) + VOXELS, "size-invalid"),
    "huge": (bytes(header(dim=HUGE)) + VOXELS, "too-large"),
    "second_version": (struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(532), "unreadable"),
    "bomb_as_announced": (gzip.compress(bytes(header(dim=HUGE))) + ZEROS * 48, "too-large"),
    "bomb_unannounced": (PACKED + ZEROS * 48, "size-not-header"),
    "voxels_nowhere": (bytes(header(at=np.nan)) + VOXELS, "size-not-header"),
    "voxels_far_away": (bytes(header(at=1e9)) + VOXELS, "size-not-header"),
    "voxels_before_the_file": (bytes(header(at=-1e9)) + VOXELS, "size-not-header"),
    "unknown_type": (bytes(header(datatype=999)) + VOXELS, "unreadable"),
    "bits": (bytes(header(datatype=1)) + VOXELS, "unreadable"),
    "complex": (bytes(header(datatype=32)) + VOXELS * 4, "voxels-complex"),
    "colors": (bytes(header(datatype=128)) + VOXELS * 2, "voxels-color"),
    "four_edges": (bytes(header(dim=(4, *SHAPE, 2))) + VOXELS * 2, "not-3d"),
    "two_edges": (bytes(header(dim=(2, 9, 56))) + VOXELS, "not-3d"),
    "nan_sform": (bytes(header(sform=axes(yy=np.nan))) + VOXELS, "affine-singular"),
    "infinite_sform": (bytes(header(sform=axes(yz=np.inf))) + VOXELS, "affine-singular"),
    "zero_sform": (bytes(header(sform=np.zeros((3, 4)))) + VOXELS, "affine-singular"),
    "sheared": (bytes(header(sform=axes(xz=0.4))) + VOXELS, "affine-sheared"),
    "two_spacings": (bytes(header(sform=axes(yy=1.6))) + VOXELS, "spacing-contradicts"),
    "nan_voxel": (
        bytes(header(datatype=16)) + np.array([np.nan] + [0] * 503, "<f4").tobytes(),
        "not-finite",
    ),
}
"""What is in them, and the rule that each breaks."""

PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "file-missing"),
    "link_to_itself": (lambda path: path.symlink_to(path), "file-missing"),
    "link_to_nothing": (lambda path: path.symlink_to(path.parent / "gone"), "file-missing"),
    "link_to_its_folder": (lambda path: path.symlink_to(path.parent), "file-missing"),
    "pipe": (os.mkfifo, "file-missing"),
}
"""What is in a file's place."""

EXPECTED = {name: code for name, (_, code) in (CONTENTS | PLACES).items()}


def make(folder: Path) -> list[Path]:
    """Write them all, named as LiTS scans."""
    paths = [folder / f"volume-{name}.nii.gz" for name in EXPECTED]
    for path, name in zip(paths, EXPECTED, strict=True):
        if name in CONTENTS:
            path.write_bytes(CONTENTS[name][0])
        else:
            PLACES[name][0](path)
    return paths
