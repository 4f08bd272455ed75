"""Options of a connection, as the client takes them."""

from pathlib import Path
from typing import Any

from dyntransnet.errors import InputError


def connection_of(
    *, ca: Path | None, cert: Path | None, key: Path | None, metadata: Path | None, shared: bool
) -> dict[str, Any]:
    """Further arguments of ``SegmentationClient``.

    Args:
        ca: certificates to trust; with any of the three the connection is encrypted.
        cert: the client's own.
        key: that of ``cert``.
        metadata: a file with a line ``NAME: VALUE`` for each; a file, since others can see
            the arguments of a command.
        shared: pass voxels through shared memory.

    Raises:
        InputError: the file of metadata cannot be used.
    """
    from dyntransnet.client import Tls

    tls = Tls(ca, cert, key) if ca or cert or key else None
    return {
        "tls": tls,
        "metadata": _metadata_in(metadata) if metadata else None,
        "shared_memory": shared,
    }


def _metadata_in(file: Path) -> dict[str, str]:
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: must be readable, got {error}") from error
    pairs = [line.partition(":") for line in lines]
    if any(not colon for _, colon, _ in pairs):
        raise InputError(f"{file}: each line must be NAME: VALUE, got one without a colon")
    return {name.strip(): value.strip() for name, _, value in pairs}
