"""Zips of DICOM files, unpacked for a while under names that tell nothing."""

import shutil
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from tempfile import TemporaryDirectory

from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.files import DAMAGE, MAGIC, MAGIC_AT

MAX_UNPACKED = 2**32
"""Bytes: four times the largest scan."""

MAX_MEMBERS = 2**16
"""Files: thirty times the slices of the longest scan."""

HEAD = MAGIC_AT + len(MAGIC)
IS_ENCRYPTED = 0x1


@contextmanager
def opened(origin: Path) -> Iterator[Path]:
    """The folder in which DICOM files lie.

    Args:
        origin: a folder, which it is itself, or a zip: its DICOM files are unpacked to a folder
            that only this user can read and that is removed with the block.

    Raises:
        ScanError: the zip is damaged, encrypted or hostile, or does not fit on the disk.
    """
    if origin.is_dir():
        yield origin
        return
    with TemporaryDirectory(prefix="dyntransnet-") as folder:
        _unpack(origin, Path(folder))
        yield Path(folder)


def _unpack(origin: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(origin) as packed:
            members = [member for member in packed.infolist() if not member.is_dir()]
            _check(members, shutil.disk_usage(folder).free, origin)
            for place, member in enumerate(members):
                _extract(packed, member, folder / f"{place:05}")
    except (zipfile.BadZipFile, LZMAError, *DAMAGE) as error:
        # Not what they say: it may quote names.
        said = getattr(error, "strerror", None) or type(error).__name__
        raise ScanError(
            f"{origin}: must be a whole zip that can be unpacked, got {said}", code="unreadable"
        ) from error


def _check(members: Sequence[zipfile.ZipInfo], free: int, origin: Path) -> None:
    """Look at what a zip says of its files before any of them is touched."""
    if any(_leaves(member.filename) for member in members):
        raise ScanError(
            f"{origin}: paths in a zip must stay within it, got one that leaves it",
            code="unreadable",
        )
    if any(member.flag_bits & IS_ENCRYPTED for member in members):
        raise ScanError(
            f"{origin}: a zip must not be encrypted, got one with a password", code="unreadable"
        )
    size = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or size > MAX_UNPACKED:
        raise ScanError(
            f"{origin}: a zip must hold at most {MAX_MEMBERS} files and {MAX_UNPACKED} bytes, "
            f"got {len(members)} files, {size} bytes",
            code="too-large",
        )
    if size > free:
        raise ScanError(
            f"{origin}: there must be room to unpack {size} bytes, got {free}", code="too-large"
        )


def _leaves(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return not parts[0] or parts[0].endswith(":") or ".." in parts


def _extract(packed: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write a member if it is a DICOM file; no more of it is read than it claims to hold."""
    if stat.S_ISLNK(member.external_attr >> 16):
        return
    with packed.open(member) as stream:
        head = stream.read(HEAD)
        if head[MAGIC_AT:] != MAGIC:
            return
        with target.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(stream, file)
