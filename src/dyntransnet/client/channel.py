"""How a connection is made: gRPC's options, certificates, keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from dyntransnet.errors import ServingError

CHANNEL = [
    # The default of 4 MiB is less than a scan. -1: no limit but protobuf's 2 GiB.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Scans of patients take no way through a web proxy.
    ("grpc.enable_http_proxy", 0),
    # A retry shall try to connect again, not be told of the last attempt.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Of an attempt to connect: a host that drops packets says nothing.
    ("grpc.min_reconnect_backoff_ms", 5000),
]


@dataclass(frozen=True)
class Tls:
    """Files (PEM) for an encrypted connection.

    Attributes:
        ca: certificates that the server's must lead back to; None: those that gRPC brings.
        certificate: the client's own, where the server asks for one (mutual TLS).
        key: belongs to ``certificate``.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def options(self) -> dict[str, Any]:
        """Arguments of tritonclient's connection.

        Raises:
            ServingError: a file cannot be read, or one of certificate and key is missing.
        """
        if (self.certificate is None) != (self.key is None):
            raise ServingError("tls: certificate and key must be given together, got one")
        files = {
            "root_certificates": self.ca,
            "certificate_chain": self.certificate,
            "private_key": self.key,
        }
        for file in filter(None, files.values()):
            try:
                file.read_bytes()
            except OSError as error:
                raise ServingError(f"tls: {file} must be readable, got {error.strerror}") from error
        return {"ssl": True} | {name: file and str(file) for name, file in files.items()}


def addresses_of(urls: str | Sequence[str]) -> list[str]:
    """Each server once.

    Args:
        urls: one, several with commas between, or a sequence.

    Raises:
        ServingError: there is none, or one is no HOST:PORT.
    """
    given = urls.split(",") if isinstance(urls, str) else urls
    found = list(dict.fromkeys(url.strip() for url in given))
    for url in found:
        host, _, port = url.rpartition(":")
        if not host or not port.isdecimal() or "/" in url:
            raise ServingError(f"server must be HOST:PORT, got {url!r}")
    if not found:
        raise ServingError("server must be HOST:PORT, got none")
    return found


def headers_of(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata as gRPC takes it; its values are secrets and never shown.

    Raises:
        ServingError: a name or a value holds what gRPC does not carry.
    """
    headers = {name.lower(): value for name, value in (metadata or {}).items()}
    for name, value in headers.items():
        if not name or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise ServingError(f"metadata: a name must be letters, digits, - and _, got {name!r}")
        if not value.isascii() or not value.isprintable():
            raise ServingError(f"metadata: {name} must be printable ASCII, got something else")
    return headers


def triton(module: str) -> ModuleType:
    """Import ``tritonclient`` or a part of it.

    Raises:
        ServingError: it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ServingError(
            f"tritonclient must be installed (pip install 'dyntransnet[client]'), got {error}"
        ) from error
