"""Run a stage again and again, kill it at random moments, and tell what each run leaves.

    python interrupted.py STAGE FOLDER KILLS AGAIN SEED

FOLDER holds two inputs, ``old`` and ``new``. Before each run the outputs are those of ``old``;
the run is of ``new``. After every AGAIN kills a run goes undisturbed. A script of its own, for it
forks: imports are paid for once, and it has no threads that a fork would lose. It prints JSON.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from dyntransnet.config import IngestParams, LabelParams, PreprocessParams
from dyntransnet.contract import IntensityWindow
from dyntransnet.stages import ingest, preprocess

PATIENCE_S = 10.0
"""How long processes may outlive the one that was killed: they are still importing."""


def run_ingest(source: Path, data: Path) -> None:
    labels = LabelParams(liver=(1,), tumor=(2,), others="refused")
    params = IngestParams(
        layout="lits", source=source, modality="CT", labels=labels, on_problem="stop"
    )
    ingest.run(source, cases=data / "cases", manifest=data / "manifest.json", params=params)


def run_preprocess(source: Path, data: Path) -> None:
    window = IntensityWindow(low_hu=-160, high_hu=240)
    params = PreprocessParams(spacing_mm=(2.0, 3.0, 2.5), intensity=window)
    preprocess.run(source, data / "cache", params)


STAGES = {"ingest": run_ingest, "preprocess": run_preprocess}


def started(job: Callable[[], None]) -> int:
    """The job in a process that leads a session of its own; back once it has begun."""
    begun, begin = os.pipe()
    if pid := os.fork():
        os.close(begin)
        os.read(begun, 1)
        os.close(begun)
        return pid
    os.setsid()
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try:
        os.write(begin, b".")
        job()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on
        os._exit(1)


def outlived_by(session: int) -> int:
    """How many processes of a session are left when patience is."""
    ends = time.monotonic() + PATIENCE_S
    while (left := sum(_session_of(pid) == session for pid in psutil.pids())) and (
        time.monotonic() < ends
    ):
        time.sleep(0.02)
    return left


def _session_of(pid: int) -> int | None:
    try:
        is_dead = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        return None if is_dead else os.getsid(pid)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None


def contents(data: Path) -> dict[str, str]:
    """Each output by a hash of all of its names and bytes; what is temporary is not output."""
    found = {}
    for output in sorted(data.iterdir()):
        if not is_temporary(output):
            digest = hashlib.sha256()
            for path in sorted(p for p in [output, *output.rglob("*")] if p.is_file()):
                digest.update(str(path.relative_to(data)).encode() + b"\0" + path.read_bytes())
            found[output.name] = digest.hexdigest()
    return found


def is_temporary(path: Path) -> bool:
    return path.name.endswith(".partial") or path.name.startswith(".partial-")


@dataclass(frozen=True)
class Bench:
    """Where a stage is run.

    Attributes:
        stage: runs it, from an input to a folder of outputs.
        root: holds the inputs and the outputs.
    """

    stage: Callable[[Path, Path], None]
    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    def whole(self, name: str) -> dict[str, str]:
        """The outputs of a run that nobody disturbs."""
        _, status = os.waitpid(self.start(name), 0)
        return contents(self.data) if status == 0 else {"failed": str(status)}

    def start(self, name: str) -> int:
        return started(partial(self.stage, self.root / name, self.data))

    def disturbed(self, moment: float, sign: signal.Signals) -> dict:
        """What a run leaves that gets a signal, as Ctrl-C sends it to all of its processes."""
        self._put_old_ones()
        process = self.start("new")
        time.sleep(moment)
        if sign == signal.SIGKILL:
            os.kill(process, sign)
        else:
            os.killpg(process, sign)
        _, status = os.waitpid(process, 0)
        return {
            "died": status != 0,
            "outlived by": outlived_by(process),
            "left": contents(self.data),
            "temporary": sum(is_temporary(path) for path in self.data.iterdir()),
        }

    def _put_old_ones(self) -> None:
        for output in contents(self.data):
            path = self.data / output
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.root / "saved", self.data, dirs_exist_ok=True)


def main() -> None:
    name, root, kills, again, seed = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
    bench, rng = Bench(STAGES[name], root), random.Random(seed)
    told: dict = {"old": bench.whole("old"), "killed": [], "again": [], "interrupted": []}
    shutil.copytree(bench.data, root / "saved")
    begun = time.monotonic()
    told["new"] = bench.whole("new")
    lasts = time.monotonic() - begun
    for _ in range(2):
        told["interrupted"].append(bench.disturbed(rng.uniform(0, lasts), signal.SIGINT))
    while (died := sum(run["died"] for run in told["killed"])) < kills:
        told["killed"].append(bench.disturbed(rng.uniform(0, lasts), signal.SIGKILL))
        if told["killed"][-1]["died"] and (died + 1) % again == 0:
            told["again"].append(bench.whole("new"))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
