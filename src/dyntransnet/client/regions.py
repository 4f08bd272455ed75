"""Voxels and mask in memory that client and server share, where they are on one host."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from dyntransnet.client.channel import triton
from dyntransnet.client.wire import Request
from dyntransnet.memory import free_bytes

LOCAL = ("localhost", "127.0.0.1", "[::1]")
SHARED_MEMORY = Path("/dev/shm")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Region:
    """Memory of one request: voxels, then the mask.

    Attributes:
        name: as the server knows it.
        voxel_bytes: where the mask begins.
        mask_bytes: how long it is.
    """

    name: str
    voxel_bytes: int
    mask_bytes: int
    _handle: Any

    @property
    def key(self) -> str:
        """As the operating system knows it."""
        return f"/{self.name}"

    @property
    def size(self) -> int:
        """In bytes."""
        return self.voxel_bytes + self.mask_bytes

    def labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """A copy of the mask."""
        memory = triton("tritonclient.utils.shared_memory")
        held = memory.get_contents_as_numpy(self._handle, np.uint8, shape, self.voxel_bytes)
        return held.copy()


@contextmanager
def region_for(request: Request, tries: int) -> Iterator[Region]:
    """Memory with a request's voxels in it; it is gone when the block ends.

    Raises:
        OSError: there is not enough of it.
    """
    memory = triton("tritonclient.utils.shared_memory")
    voxels = request.voxels.array
    name = f"dyntransnet-{os.getpid()}-{request.id}-{tries}"
    size = voxels.nbytes + prod(voxels.shape)
    try:
        handle = memory.create_shared_memory_region(name, f"/{name}", size, create_only=True)
    except memory.SharedMemoryException as error:
        raise OSError(f"{error}: {error.__cause__}") from error
    try:
        _take(name, size)
        memory.set_shared_memory_region(handle, [voxels])
        yield Region(name, voxels.nbytes, prod(voxels.shape), handle)
    finally:
        memory.destroy_shared_memory_region(handle)


def _take(name: str, size: int) -> None:
    """Have the system set memory aside: writing to what it does not have kills a process."""
    if size > free_bytes():
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    descriptor = os.open(SHARED_MEMORY / name, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


class Sharing:
    """Which servers share memory with this process, and what they still hold of it.

    Args:
        wanted: False: none does.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._unable: set[str] = set()
        self._held: dict[str, set[str]] = {}
        self._lock = Lock()

    def is_with(self, url: str) -> bool:
        """Whether to try it with a server."""
        is_local = url.rpartition(":")[0] in LOCAL
        if self._wanted and not is_local and url not in self._unable:
            self.give_up(url, "it is on another host")
        return self._wanted and is_local and url not in self._unable

    def give_up(self, url: str, cause: object) -> None:
        """Send over the wire from now on, and say so once."""
        self._unable.add(url)
        log.warning("%s: scans go over the wire, not through shared memory: %s", url, cause)

    def held_by(self, url: str) -> list[str]:
        """Names that a server has not let go of."""
        with self._lock:
            return sorted(self._held.get(url, ()))

    def hold(self, url: str, name: str) -> None:
        """A server was told of a region."""
        with self._lock:
            self._held.setdefault(url, set()).add(name)

    def forget(self, url: str, name: str) -> None:
        """A server has let go of a region, or is gone itself."""
        with self._lock:
            self._held.get(url, set()).discard(name)
