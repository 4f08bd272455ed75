"""Faults: broken wires, mutated requests, a server killed again and again under load."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np
from judging import ask, fault_in
from load import TIMEOUT_S, Case, Tally
from memory import group_mib
from mutations import mutant
from proxy import Proxy
from published import network_of
from rows import Row

from dyntransnet.client import Policy, SegmentationClient
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.presets import Preset, tuned
from dyntransnet.imaging.scan import Scan
from dyntransnet.server import TritonServer

PATIENT = Policy(spare_retries=1000, patience_s=120.0)
MUTANT_S = 20.0
"""Longest wait for what a mutated request comes back with."""


def on_the_wire(server: TritonServer, case: Case) -> list[Row]:
    """Bytes of a scan and its answer."""
    tally = Tally()
    with Proxy(server.grpc_port) as wire, SegmentationClient(wire.url) as client:
        tally.ask(client, case)
    more = sum(wire.passed.values()) - 3 * case.scan.voxels.size
    return [Row("bytes of a scan beyond 3 a voxel", "<= 64000", [more], 0)]


def broken_wires(server: TritonServer, case: Case, times: int) -> list[Row]:
    """Connections that break, each once, anywhere on the way up or down."""
    tally, random = Tally(), np.random.default_rng(0)
    voxels = case.scan.voxels
    for number in range(times):
        ways = {"up_limit": voxels.nbytes, "down_limit": voxels.size}
        way = list(ways)[number % 2]
        limit = {way: int(random.integers(1, ways[way]))}
        with (
            Proxy(server.grpc_port, faults=1, reset=number % 4 < 2, **limit) as wire,
            SegmentationClient(wire.url, timeout_s=TIMEOUT_S, policy=PATIENT) as client,
        ):
            tally.ask(client, case)
    return tally.rows(f"{times} connections broken at any byte")


def mutated(server: TritonServer, repository: Path, case: Case, count: int) -> list[Row]:
    """Requests that something was done to at random, then a scan."""
    predict, contract = network_of(repository)

    def here(scan: Scan, preset: Preset) -> np.ndarray:
        return answer(scan, *tuned(preset, predict, contract)).mask.labels

    faults, masks, tally = [], 0, Tally()
    before = group_mib(server.process.pid)
    with grpc.insecure_channel(server.url) as channel:
        for seed in range(count):
            made = mutant(seed)
            reply = ask(channel, made.message, MUTANT_S)
            masks += reply.labels is not None
            if fault := fault_in(made, reply, here):
                print(f"soak: request {made.done}: {fault}", file=sys.stderr)
                faults.append(fault)
    grown = group_mib(server.process.pid) / before
    with SegmentationClient(server.url, timeout_s=TIMEOUT_S) as client:
        tally.ask(client, case)
    return [
        Row(f"{count} mutated requests: neither right nor refused", "0", [len(faults)], 0),
        Row(f"{count} mutated requests: masks among the answers", "", [masks], 0),
        Row(f"{count} mutated requests: server memory after over before", "<= 1.05", [grown], 3),
        *tally.rows("a scan after them"),
    ]


def killed(repository: Path, case: Case, times: int) -> list[Row]:
    """A server that is killed again and again while four clients ask it."""
    tally, random, back = Tally(), np.random.default_rng(0), []
    with Killable(repository) as server, _asked(server.url, case, tally):
        for _ in range(times):
            time.sleep(2 + 2 * random.random())
            server.kill()
            begun, answered = time.perf_counter(), len(tally.seconds)
            server.start()
            while len(tally.seconds) == answered:
                time.sleep(0.01)
            back.append(time.perf_counter() - begun)
    return [
        Row("from a kill to the next mask, seconds", "", back),
        *tally.rows(f"killed {times} times under load"),
    ]


@contextmanager
def _asked(url: str, case: Case, tally: Tally, clients: int = 4) -> Iterator[None]:
    """While clients ask without a pause."""
    ended = threading.Event()

    def work() -> None:
        with SegmentationClient(url, timeout_s=TIMEOUT_S, policy=PATIENT) as client:
            while not ended.is_set():
                tally.ask(client, case)

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(work) for _ in range(clients)]
        try:
            while not tally.seconds:  # who never got an answer does not wait for a server
                time.sleep(0.01)
            yield
        finally:
            ended.set()
        for each in asking:
            each.result()


class Killable:
    """A server of its own that ends without a farewell and starts again at the same port."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._port = 0

    def __enter__(self) -> "Killable":
        """Start."""
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        """Stop."""
        self._running.close()

    def start(self) -> None:
        """Wait until it is ready."""
        with ExitStack() as cleanup:
            self._server = cleanup.enter_context(
                TritonServer(self._repository, grpc_port=self._port)
            )
            self._running = cleanup.pop_all()
        self._port, self.url = self._server.grpc_port, self._server.url

    def kill(self) -> None:
        """All of its processes at once."""
        os.killpg(self._server.process.pid, signal.SIGKILL)
        self._running.close()
