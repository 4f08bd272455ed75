"""Which image files a folder holds."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import READABLE, case_id_of, suffix_of


def images_in(path: Path) -> list[Path]:
    """The image files of a folder in order of name, or the one file that the path names.

    Raises:
        ScanError: there is nothing, or a file of another format.
    """
    if path.is_file():
        suffix_of(path, READABLE)
        return [path]
    if not path.is_dir():
        raise ScanError(
            f"{path}: must be a file or a folder, got nothing there", code="file-missing"
        )
    found = (file for file in path.iterdir() if file.name.lower().endswith(READABLE))
    return sorted(file for file in found if not file.name.startswith("."))  # half-written ones are


def named_twice(files: Sequence[Path]) -> list[str]:
    """Case ids that more than one file has: their results would share a name."""
    return [case for case, count in Counter(map(case_id_of, files)).items() if count > 1]
