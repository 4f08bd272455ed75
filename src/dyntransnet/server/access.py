"""Who may do what with a server: TLS, client certificates, and a key for what changes it."""

import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dyntransnet.errors import ServingError

CONTROL_HEADER = "admin-key"
"""As in the container. In gRPC's metadata it is ``triton-grpc-protocol-admin-key``."""

CONTROL_KEY = "DYNTRANSNET_CONTROL_KEY"
"""Environment variable that may hold the key instead of a file."""

KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")
"""Letters that need no quoting on Triton's command line."""

CHANGING = "model-repository,trace,logging"
"""Triton's names of the protocols that change a server."""

ALL_BUT_HEALTH = (
    "metadata,inference,shared-memory,model-config,model-repository,statistics,trace,logging"
)


@dataclass(frozen=True)
class Tls:
    """Certificates of the gRPC port, PEM.

    Attributes:
        cert: the server's, with what lies between it and its root.
        key: of that certificate.
        ca: whose certificates clients must show; None: they need none.
    """

    cert: Path
    key: Path
    ca: Path | None = None


@dataclass(frozen=True)
class Access:
    """Who may do what.

    Attributes:
        tls: None for plain gRPC.
        control_key: whoever shows it may load and unload models; None: nobody may.
    """

    tls: Tls | None = None
    control_key: str | None = None

    def flags(self, models: Sequence[str]) -> list[str]:
        """Triton's options; with a key it loads these models, and others when told to.

        Raises:
            ServingError: a file is missing.
        """
        return [*self._tls_flags(), *self._control_flags(models)]

    def _tls_flags(self) -> list[str]:
        if self.tls is None:
            return []
        files = {"server-cert": self.tls.cert, "server-key": self.tls.key}
        if self.tls.ca:
            files["root-cert"] = self.tls.ca
        for name, path in files.items():
            if not path.is_file():
                raise ServingError(f"{path}: must be the PEM file for grpc-{name}, got no file")
        mutual = ["--grpc-use-ssl-mutual=true"] if self.tls.ca else []
        given = [f"--grpc-{name}={path.resolve()}" for name, path in files.items()]
        # Triton's HTTP has no TLS: health is all that stays open there, to nobody's key.
        nobody = f"{secrets.token_hex(8)}={secrets.token_hex()}"
        closed = f"--http-restricted-api={ALL_BUT_HEALTH}:{nobody}"
        return ["--grpc-use-ssl=true", *mutual, *given, closed]

    def _control_flags(self, models: Sequence[str]) -> list[str]:
        if self.control_key is None:
            return []
        rule = f"{CHANGING}:{CONTROL_HEADER}={self.control_key}"
        http = [] if self.tls else [f"--http-restricted-api={rule}"]
        return [
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in models),
            f"--grpc-restricted-protocol={rule}",
            *http,
        ]


OPEN = Access()


def tls_of(cert: Path | None, key: Path | None, ca: Path | None) -> Tls | None:
    """Of three options.

    Raises:
        ServingError: some are given without the others that they need.
    """
    if cert is None and key is None and ca is None:
        return None
    if cert is None or key is None:
        raise ServingError("--tls-cert and --tls-key must be given together, got one or --tls-ca")
    return Tls(cert, key, ca)


def read_control_key(file: Path | None) -> str | None:
    """The key in a file, or in the environment; None where there is none.

    Raises:
        ServingError: the file cannot be read, or holds no key.
    """
    try:
        given = file.read_text().strip() if file else os.environ.get(CONTROL_KEY)
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(f"{file}: must hold a control key, got {error}") from error
    if given is None:
        return None
    if not KEY.fullmatch(given):
        raise ServingError(
            f"{file or CONTROL_KEY}: must hold 16 to 128 of A-Z a-z 0-9 _ -, "
            f"got {len(given)} characters"
        )
    return given
