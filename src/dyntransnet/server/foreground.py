"""A server that runs until it is told to stop, as ``dyntransnet serve`` has it."""

import itertools
import shutil
import signal
import tempfile
import time
from pathlib import Path

from dyntransnet.errors import ServingError
from dyntransnet.server.access import OPEN, Access
from dyntransnet.server.triton import LOOPBACK, TritonServer

LOOK_S = 1.0
"""Between two looks at a server's processes."""


def serve(
    repository: Path,
    *,
    grpc_port: int,
    http_port: int,
    metrics_port: int,
    access: Access = OPEN,
) -> None:
    """Serve a model repository on loopback until Ctrl-C or SIGTERM; for a main thread.

    Where a model's process is killed, Triton is started anew on the same ports: it would not
    mend itself.

    Raises:
        ServingError: as ``TritonServer``, or the server ended by itself; its log
            stays where the message says.
    """
    log = Path(tempfile.mkdtemp(prefix="dyntransnet-log-")) / "triton.log"
    ports = {"grpc_port": grpc_port, "http_port": http_port, "metrics_port": metrics_port}
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.default_int_handler)
    try:
        for start in itertools.count(1):
            with TritonServer(repository, log=log, access=access, **ports) as server:
                ports = {name: getattr(server, name) for name in ports}
                shown = ", ".join(f"{name} {port}" for name, port in ports.items())
                print(f"ready on {LOOPBACK}: {shown}, log {log}", flush=True)
                _watch(server)
            kept = log.rename(log.with_name(f"triton-{start}.log"))
            print(f"a model's process was killed: starting again (log {kept})", flush=True)
    except KeyboardInterrupt:
        shutil.rmtree(log.parent)
    except ServingError as error:
        if log.exists():
            raise ServingError(f"{error} (log {log})") from error
        shutil.rmtree(log.parent)
        raise


def _watch(server: TritonServer) -> None:
    """Until it has lost a model's process."""
    while server.is_whole():
        server.check()
        time.sleep(LOOK_S)
