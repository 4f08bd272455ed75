"""Which results in a folder were made of what: so that a second run leaves them alone.

A hidden file of JSON lines beside the results; the last line of a name counts.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from dyntransnet.atomic import sha256_of
from dyntransnet.errors import OutputError

LEDGER = ".dyntransnet.jsonl"

Makers = Mapping[str, str]
"""Model, options and program that made a result."""


@dataclass(frozen=True)
class Print:
    """What a file was, or all files of a folder: size, last change, and content.

    With size and time as they were, the content is taken to be; with another time it is
    read again. ``make`` and ``rsync`` judge files so.
    """

    bytes: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "Print":
        """Of what is there."""
        return cls(*_stamp(path), _content(path))

    def is_still(self, path: Path) -> bool:
        """Whether it is what it was; False where it is gone."""
        try:
            size, changed = _stamp(path)
            if size != self.bytes:
                return False
            return changed == self.mtime_ns or _content(path) == self.sha256
        except OSError:
            return False


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _stamp(path: Path) -> tuple[int, int]:
    stats = [file.stat() for file in _files(path)]
    return sum(each.st_size for each in stats), max((each.st_mtime_ns for each in stats), default=0)


def _content(path: Path) -> str:
    """Of one file as ``sha256sum`` has it; of a folder that of its files' names and sums."""
    if not path.is_dir():
        return sha256_of(path)
    lines = [f"{sha256_of(file)}  {file.relative_to(path)}\n" for file in _files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """One scan's results.

    Attributes:
        scan: the file that was read.
        made_by: model, options and program.
        results: file name to what was written; the mask comes first.
    """

    scan: Print
    made_by: Makers
    results: Mapping[str, Print]


class Ledger:
    """Of the results in one folder.

    Args:
        folder: where they are.
        made_by: asked, at most once, who makes results now; only where there are old ones.
    """

    def __init__(self, folder: Path, made_by: Callable[[], Makers]) -> None:
        self._file = folder / LEDGER
        self._made_by = made_by
        self._entries = _read(self._file)

    @cached_property
    def _makers(self) -> Makers:
        return self._made_by()

    def is_done(self, scan: Path, results: Sequence[Path]) -> bool:
        """Whether all results are there, of this scan, by these makers.

        Args:
            scan: the file or folder they are of; a file whose voxels lie in another is never
                done.
            results: the mask and what is asked for beside it.

        Raises:
            OutputError: the mask is not what was written: somebody worked on it since.
            ServingError: the server does not say which model it has.
        """
        mask = results[0]
        entry = self._entries.get(mask.name)
        if entry is None or not mask.exists() or not scan.exists():
            return False
        if not entry.results[mask.name].is_still(mask):
            raise OutputError(
                f"{mask}: must be as it was written, got a mask that was changed since "
                "(--again replaces it)"
            )
        return (
            scan.suffix.lower() != ".mhd"
            and dict(entry.made_by) == dict(self._makers)
            and entry.scan.is_still(scan)
            and all(path.name in entry.results for path in results)
            and all(entry.results[path.name].is_still(path) for path in results[1:])
        )

    def note(self, scan: Path, results: Sequence[Path], made_by: Makers) -> None:
        """Write down what was made.

        Raises:
            OutputError: the folder cannot be written to.
        """
        try:
            prints = {path.name: Print.of(path) for path in results}
            entry = Entry(Print.of(scan), dict(made_by), prints)
            line = json.dumps({"mask": results[0].name, **asdict(entry)})
            # One short write: others may append, too. After a line that was cut off, a new one.
            with self._file.open("ab+") as stream:
                stream.write(f"{_ending(stream)}{line}\n".encode())
        except OSError as error:
            raise OutputError(f"{self._file}: must be writable, got {error.strerror}") from error


def _read(file: Path) -> dict[str, Entry]:
    """The entries of a file; a line that was cut off or is of another form says nothing."""
    entries = {}
    with suppress(OSError):
        for line in file.read_text(errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                entry = _entry_of(json.loads(line))
                entries[next(iter(entry.results))] = entry
    return entries


def _ending(stream: BinaryIO) -> str:
    """What the last line lacks."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(size - 1, 0))
    return "" if stream.read(1) in (b"", b"\n") else "\n"


def _entry_of(row: dict[str, Any]) -> Entry:
    results = {name: Print(**row["results"][name]) for name in row["results"]}
    results = {row["mask"]: results.pop(row["mask"]), **results}
    return Entry(Print(**row["scan"]), row["made_by"], results)
