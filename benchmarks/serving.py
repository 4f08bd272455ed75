"""Throughput with several clients, and small scans beside a huge one, on a server of its own.

python benchmarks/serving.py models/onnx data/cases/volume-0/scan.nii.gz
"""

import argparse
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dyntransnet import repository as names
from dyntransnet.client import SegmentationClient
from dyntransnet.config import PublishParams
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.scan import Scan, read_scan
from dyntransnet.runtimes.choice import load
from dyntransnet.server import TritonServer
from dyntransnet.stages.publish import write_network

CLIENTS = (1, 2, 4, 8)
PARAMS = PublishParams(backend="python", runtime="openvino", precision="fp32")
TIMEOUT_S = 1800.0


def main() -> None:
    """Print one JSON object; seconds, and scans for each second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="what export wrote")
    parser.add_argument("scan", type=Path)
    parser.add_argument("--scans", type=int, default=16, help="for each number of clients")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--huge", type=int, default=4, help="times as long as the scan")
    given = parser.parse_args()
    scan = read_scan(given.scan)
    with tempfile.TemporaryDirectory() as work, TritonServer(_repository(given.model, work)) as up:
        ask = _asker(up.url)
        ask(scan)
        table = {
            "served_over_local": _against_local(given.model, scan, ask, given.rounds),
            "clients": [_throughput(ask, scan, count, given.scans) for count in CLIENTS],
            "beside_huge": _beside_huge(ask, scan, given.huge),
        }
    print(json.dumps(table, indent=1))


def _repository(model: Path, work: str) -> Path:
    root = Path(work) / "model_repository"
    shutil.copytree(Path(__file__).parents[1] / "model_repository", root)
    write_network(model, root / names.NETWORK, PARAMS, {})
    return root


def _asker(url: str) -> Callable[[Scan], float]:
    """Seconds for a scan, over a connection of the thread's own."""
    local = threading.local()

    def ask(scan: Scan) -> float:
        if not hasattr(local, "client"):
            local.client = SegmentationClient(url, timeout_s=TIMEOUT_S)
        begun = time.perf_counter()
        local.client.segment(scan)
        return time.perf_counter() - begun

    return ask


def _against_local(model: Path, scan: Scan, ask: Callable[[Scan], float], rounds: int) -> float:
    """The best of a few in turns, served over local."""
    network = load(model, PARAMS.runtime, PARAMS.precision)
    served, here = [], []
    for _ in range(rounds):
        served.append(ask(scan))
        begun = time.perf_counter()
        answer(scan, *network)
        here.append(time.perf_counter() - begun)
    return min(served) / min(here)


def _throughput(
    ask: Callable[[Scan], float], scan: Scan, clients: int, scans: int
) -> dict[str, float]:
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        taken = list(pool.map(ask, [scan] * scans))
    return {
        "clients": clients,
        "scans_per_s": scans / (time.perf_counter() - begun),
        "median_s": statistics.median(taken),
        "p99_s": float(np.percentile(taken, 99)),
    }


def _beside_huge(ask: Callable[[Scan], float], scan: Scan, times: int) -> dict[str, float]:
    """Seconds of small scans, alone and while one that is longer is worked on."""
    long = Scan("huge", np.concatenate([scan.voxels] * times, axis=2), scan.affine)
    alone = ask(scan)
    beside: list[float] = []
    with ThreadPoolExecutor(2) as pool:
        huge = pool.submit(ask, long)
        while not huge.done():
            beside.append(pool.submit(ask, scan).result())
    return {
        "huge_s": huge.result(),
        "small_alone_s": alone,
        "small_median_s": statistics.median(beside),
        "small_scans_meanwhile": len(beside),
    }


if __name__ == "__main__":
    main()
