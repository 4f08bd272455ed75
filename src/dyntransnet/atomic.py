"""Results appear whole or not at all: written aside, then renamed."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dyntransnet.errors import OutputError

PARTIAL = ".partial"


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; it becomes ``path`` when the block ends well.

    The temporary name keeps the suffixes in lower case, for writers that read the
    format from the name.

    Args:
        path: where the finished file shall be; its folder is made.

    Raises:
        OutputError: the place cannot be written to.
    """
    check_writable(path)
    partial = path.with_name(f"{PARTIAL}-{os.getpid()}-{path.name.lower()}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: must be writable, got {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it replaces ``path`` when the block ends well.

    Args:
        path: where the finished folder shall be; an old one there is removed, and whoever
            is killed meanwhile leaves either of them whole, or none.

    Raises:
        OutputError: the place cannot be written to.
    """
    partial, old = (path.with_name(path.name + suffix) for suffix in (PARTIAL, f".old{PARTIAL}"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial, old)
        partial.mkdir()
        yield partial
        if path.is_dir():
            path.rename(old)
        partial.rename(path)
    except OSError as error:
        raise OutputError(f"{path}: must be writable, got {error.strerror or error}") from error
    finally:
        if old.is_dir() and not path.exists():  # nothing took its place
            old.rename(path)
        _remove(partial, old)


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Make sure, before long work, that a file can be put at ``path``.

    Raises:
        OutputError: the folder cannot be made or written to, or ``path`` is a folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: its folder must be writable, got {error.strerror}") from error
    if path.is_dir():
        raise OutputError(f"{path}: must be a file name, got a folder")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: its folder must be writable, got no permission")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
