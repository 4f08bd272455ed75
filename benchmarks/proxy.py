"""A TCP proxy that counts what passes and can break it."""

import socket
import struct
import threading
from contextlib import ExitStack, closing, suppress
from typing import Self

CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset instead of a farewell."""


class Proxy:
    """A way to a server on loopback; a context manager.

    Args:
        target: its port.
        up_limit: bytes from the client after which a connection is broken.
        down_limit: bytes from the server after which it is.
        faults: how many connections are broken; those after them are let through.
        reset: break with a reset; False: with a farewell.
        silent: instead of breaking, let nothing more through.
        pause_s: wait after each piece of 64 KiB from the server, as a slow reader does.
    """

    def __init__(
        self,
        target: int,
        *,
        up_limit: int | None = None,
        down_limit: int | None = None,
        faults: int = 1_000_000,
        reset: bool = True,
        silent: bool = False,
        pause_s: float = 0.0,
    ) -> None:
        self._target = target
        self._limits = {"up": up_limit, "down": down_limit}
        self._faults = faults
        self._reset = reset
        self._silent = silent
        self._pause_s = {"up": 0.0, "down": pause_s}
        self._cleanup = ExitStack()
        self._ended = threading.Event()
        self.connections = 0
        self.passed = {"up": 0, "down": 0}

    def __enter__(self) -> Self:
        self._listener = self._cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._cleanup.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._ended.is_set():
                client, _ = self._listener.accept()
                self.connections += 1
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                for each in (client, server):
                    self._cleanup.callback(each.close)
                breaks = self.connections <= self._faults
                for way, source, sink in (("up", client, server), ("down", server, client)):
                    limit = self._limits[way] if breaks else None
                    threading.Thread(
                        target=self._pump, args=(way, source, sink, limit), daemon=True
                    ).start()

    def _pump(
        self, way: str, source: socket.socket, sink: socket.socket, limit: int | None
    ) -> None:
        count = 0
        with suppress(OSError):
            while data := source.recv(CHUNK):
                left = len(data) if limit is None else limit - count
                sink.sendall(data[:left])
                count += len(data[:left])
                self.passed[way] += len(data[:left])
                self._ended.wait(self._pause_s[way])
                if limit is not None and count >= limit:
                    return self._break(source, sink)
            sink.shutdown(socket.SHUT_WR)

    def _break(self, source: socket.socket, sink: socket.socket) -> None:
        if self._silent:
            self._ended.wait(30)
        for each in (source, sink):
            with closing(each):
                if self._reset:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
