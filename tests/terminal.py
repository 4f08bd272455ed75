"""The command line as somebody at a terminal sees it."""

import os
import pty
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path


def run_at_terminal(*arguments: object, cwd: Path) -> tuple[int, str, str]:
    """Run a command whose standard error is a terminal.

    Returns:
        Exit code, what went to standard output, and what the terminal was sent.
    """
    ours, theirs = pty.openpty()
    with (
        closing(os.fdopen(ours, "rb", buffering=0)) as screen,
        subprocess.Popen(
            [sys.executable, "-m", "dyntransnet.cli", *map(str, arguments)],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        ) as process,
    ):
        os.close(theirs)
        drawn = b""
        with suppress(OSError):  # how Linux says that nobody holds the other end
            while piece := screen.read(4096):
                drawn += piece
        written, _ = process.communicate()
    return process.returncode, written, drawn.decode()
