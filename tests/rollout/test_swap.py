"""Swaps against the real server, under load."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import tritonclient.grpc as triton
from swapping import COARSE, KEY, PARAMS, save_coarse

from builders import affine_of, blobs
from dyntransnet import repository as names
from dyntransnet.client import SegmentationClient
from dyntransnet.contract import Contract
from dyntransnet.errors import ModelError, QualityGateError, ServingError
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import segment
from dyntransnet.rollout import swap
from dyntransnet.rollout.control import Address, Controller
from dyntransnet.rollout.swap import Candidate
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.golden import Golden, make_golden
from dyntransnet.server import TritonServer
from dyntransnet.service.versions import read_traffic
from models import flip_a_bit, save_model, threshold_model

pytestmark = pytest.mark.triton

SHAPE = (40, 34, 27)
SCAN = Scan(
    "load", (60 * blobs(SHAPE, seed=3)).astype(np.int16), affine_of(SHAPE, (2, 2.5, 3), "LPS")
)


def candidate(folder, low: float, *, golden: Golden | None = None) -> Candidate:
    save_coarse(folder, low)
    return Candidate(folder, {}, golden or make_golden(*load(folder, "onnxruntime")), 1.0)


def model_of(server) -> str:
    """Which model answers."""
    with SegmentationClient(server.url, timeout_s=20.0) as client:
        return client.segment(SCAN).report["model_sha256"]


@contextmanager
def under_load(server, *folders) -> Iterator[Counter]:
    """Three clients all the while; counts the models that answered rightly, and all else."""
    masks = {}
    for folder in (server.repository.parent / "first", *folders):
        predict, contract = load(folder, "onnxruntime")
        masks[contract.model_sha256] = segment(SCAN, predict, contract).labels
    found: Counter = Counter()
    ended = threading.Event()

    def ask() -> None:
        with SegmentationClient(server.url, timeout_s=20.0) as client:
            while not ended.is_set():
                try:
                    answer = client.segment(SCAN)
                except ServingError as error:
                    found[str(error)] += 1
                    continue
                sha256 = answer.report["model_sha256"]
                is_right = np.array_equal(answer.mask.labels, masks.get(sha256, ()))
                found[sha256 if is_right else f"wrong mask of {sha256}"] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_no_request_fails_in_a_swap_a_refused_swap_and_a_rollback(server, address, tmp_path):
    before = model_of(server)
    good = candidate(tmp_path / "good", 0.1)
    after = Contract.load(good.folder).model_sha256
    bad = candidate(tmp_path / "bad", -0.2, golden=good.golden)
    with Controller(address) as control, under_load(server, good.folder, bad.folder) as found:
        with pytest.raises(QualityGateError, match=r"golden scan's liver Dice must be at least 1,"):
            swap.put(bad, server.repository, control, PARAMS)
        assert model_of(server) == before
        now = swap.put(good, server.repository, control, PARAMS)
        assert model_of(server) == after
        back = swap.back(server.repository, control)
        assert model_of(server) == before
    assert set(found) == {before, after}
    assert (back.version, back.before) == (now.before, now.version)


def test_a_refused_version_leaves_nothing_but_its_number(server, address, tmp_path):
    traffic = read_traffic(server.repository / names.NETWORK)
    config = (server.repository / names.NETWORK / names.CONFIG_FILE).read_text()
    bad = candidate(tmp_path / "bad", -0.1, golden=candidate(tmp_path / "good", 0.3).golden)
    with Controller(address) as control:
        with pytest.raises(QualityGateError, match="the traffic stays where it was"):
            swap.put(bad, server.repository, control, PARAMS)
        assert not control.is_ready(names.NETWORK, traffic.last + 1)
    after = read_traffic(server.repository / names.NETWORK)
    assert (after.version, after.last) == (traffic.version, traffic.last + 1)
    assert not (server.repository / names.NETWORK / str(after.last)).exists()
    assert (server.repository / names.NETWORK / names.CONFIG_FILE).read_text() == config


def test_a_version_that_cannot_be_loaded_never_serves(server, address, tmp_path, monkeypatch):
    before = model_of(server)
    broken = candidate(tmp_path / "broken", 0.3)
    placed = swap._place

    def damage(one, network, number):
        placed(one, network, number)
        flip_a_bit(network / str(number) / "model.onnx")

    monkeypatch.setattr(swap, "_place", damage)
    with (
        Controller(address) as control,
        pytest.raises(ServingError, match=r"must load dyntransnet, got .*sha256 must be"),
    ):
        swap.put(broken, server.repository, control, PARAMS)
    assert model_of(server) == before


def test_only_two_versions_stay(server, address, tmp_path):
    network = server.repository / names.NETWORK
    with Controller(address) as control:
        for number, low in enumerate((0.12, 0.14, 0.16)):
            now = swap.put(
                candidate(tmp_path / str(number), low), server.repository, control, PARAMS
            )
        folders = {int(path.name) for path in network.iterdir() if path.name.isdigit()}
        assert folders == {1, now.before, now.version}
        numbers = range(1, now.last + 1)
        ready = [number for number in numbers if control.is_ready(names.NETWORK, number)]
    assert ready == [now.before, now.version]


def test_another_window_needs_a_restart(server, address, tmp_path):
    model = threshold_model(0.2, 0.7, patch_size=(16, 24, 16))
    save_model(tmp_path / "wide", model, patch_size=(16, 24, 16), spacing_mm=COARSE)
    golden = make_golden(*load(tmp_path / "wide", "onnxruntime"))
    other = Candidate(tmp_path / "wide", {}, golden, 1.0)
    rule = r"config\.pbtxt: must be the new model's too .* got another"
    with Controller(address) as control, pytest.raises(ModelError, match=rule):
        swap.put(other, server.repository, control, PARAMS)


@pytest.mark.parametrize("key", [None, "another-key-than-that"])
def test_nobody_changes_a_server_without_its_key(server, key):
    with (
        Controller(Address(server.url, control_key=key)) as control,
        pytest.raises(ServingError, match=r"must unload dyntransnet, got .*restricted"),
    ):
        control.unload(names.NETWORK)
    with triton.InferenceServerClient(server.url) as raw:
        assert raw.is_model_ready(names.NETWORK)


def test_a_server_that_is_not_there_is_named(tmp_path):
    with (
        Controller(Address("127.0.0.1:9", control_key=KEY)) as control,
        pytest.raises(ServingError, match=r"^server at 127\.0\.0\.1:9 must load dyntransnet, got "),
    ):
        control.load(names.NETWORK)


def test_there_is_nothing_to_go_back_to_before_a_swap(tmp_path):
    (tmp_path / names.NETWORK).mkdir()
    with (
        Controller(Address("127.0.0.1:9")) as control,
        pytest.raises(ModelError, match="must have had the traffic before, got version 1 alone"),
    ):
        swap.back(tmp_path, control)


def test_a_restarted_server_goes_on_with_what_had_the_traffic(server, address, tmp_path):
    with Controller(address) as control:
        now = swap.put(candidate(tmp_path / "last", 0.05), server.repository, control, PARAMS)
    with (
        TritonServer(server.repository, timeout_s=60.0) as again,
        SegmentationClient(again.url, timeout_s=20.0) as client,
    ):
        report = client.segment(SCAN).report
    assert report["network_version"] == now.version
    assert json.loads((server.repository / names.NETWORK / "traffic.json").read_text()) == {
        "version": now.version, "before": now.before, "last": now.last,
    }  # fmt: skip
