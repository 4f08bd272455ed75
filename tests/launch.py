"""Run a script as several processes that know each other, as torchrun does."""

import os
import subprocess
import sys
from pathlib import Path


def together(count: int, script: Path, *arguments: object, folder: Path | None = None) -> None:
    """Run it on loopback and wait; a failure shows what the processes said."""
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count),
        "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1",
    ]  # fmt: skip
    done = subprocess.run(
        [*torchrun, str(script), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        check=False, capture_output=True, timeout=300, cwd=folder,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stdout.decode() + done.stderr.decode())
