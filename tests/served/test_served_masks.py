"""The real wire: what the server answers is what this process would have computed."""

import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
import tritonclient.grpc as triton
from threshold_network import EDGE, blobs, scan_of

from builders import affine_of
from dyntransnet import repository as names
from dyntransnet.client import SegmentationClient
from dyntransnet.errors import ServingError
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.presets import Preset, tuned
from dyntransnet.imaging.scan import Scan
from dyntransnet.imaging.segment import segment

pytestmark = pytest.mark.triton

ALONG_RAS = np.diag([2.0, 1.5, 4.0, 1.0])
FLIPPED = np.diag([-0.9, -1.1, 5.0, 1.0])
PERMUTED = np.array([[0, 0, 2.5, 9], [-1.2, 0, 0, -7], [0, 3.1, 0, 4], [0, 0, 0, 1.0]])
OBLIQUE = affine_of((70, 50, 37), (1.9, 1.4, 3.8), tilt_deg=9.0)
SHEARED = np.array([[1.9, 0.3, 0, 0], [-0.3, 1.4, 0.1, 5], [0, -0.1, 3.8, 0], [0, 0, 0, 1.0]])


@pytest.fixture
def client(server):
    with SegmentationClient(server.url, timeout_s=30.0) as client:
        yield client


@pytest.mark.parametrize("kind", [np.int16, np.float32])
@pytest.mark.parametrize("affine", [ALONG_RAS, FLIPPED, PERMUTED, OBLIQUE])
def test_served_mask_equals_local_mask(client, network, affine, kind):
    scan = Scan("a", blobs((70, 50, 37), seed=1).astype(kind), affine)
    served, local = client.segment(scan).mask, segment(scan, *network)
    assert set(np.unique(local.labels)) == {0, 1, 2}
    np.testing.assert_array_equal(served.labels, local.labels)
    np.testing.assert_array_equal(served.affine, scan.affine)


def test_a_preset_is_served_as_it_is_run_here(client, network):
    scan = scan_of((70, 50, 37))
    fast, standard = (client.segment(scan, preset).mask.labels for preset in [*Preset][:2])
    np.testing.assert_array_equal(fast, segment(scan, *tuned(Preset.FAST, *network)).labels)
    assert (fast != standard).any()


def test_an_unknown_preset_is_refused(client):
    with pytest.raises(ServingError, match="preset: must be one of fast, standard, accurate, got"):
        client.segment(scan_of((20, 30, 25)), mock.Mock(Preset, encode="best".encode))


def test_memory_order_of_a_scan_does_not_matter(client):
    scan = scan_of((40, 30, 20))
    turned = Scan(scan.id, np.ascontiguousarray(scan.voxels), scan.affine)
    one, other = client.segment(scan).mask, client.segment(turned).mask
    np.testing.assert_array_equal(one.labels, other.labels)


def test_report_is_that_of_an_answer_here(client, network):
    scan = scan_of((40, 30, 20))
    report, local = client.segment(scan).report, answer(scan, *network).report
    assert {name: report[name] for name in local} == local
    assert report["lesions"][0]["probability"] > 0.5


def test_report_names_the_model_that_answered(client, network):
    report = client.segment(scan_of((40, 30, 20))).report
    _, contract = network
    assert report["network"] == contract.network.name
    assert report["model_sha256"] == contract.model_sha256


def test_network_answers_windows_as_its_runtime_does(server, network):
    windows = np.random.default_rng(0).normal(size=(3, 1, EDGE, EDGE, EDGE)).astype(np.float32)
    image = triton.InferInput("image", windows.shape, "FP32").set_data_from_numpy(windows)
    with triton.InferenceServerClient(server.url) as raw:
        served = raw.infer(names.NETWORK, [image], client_timeout=10).as_numpy("logits")
    predict, _ = network
    np.testing.assert_allclose(served, predict(windows), atol=1e-6)


@pytest.mark.parametrize(
    ("voxels", "affine", "message"),
    [
        (blobs((9, 8, 7), seed=0), np.diag([1.0, 1, 0, 1]), "bad: affine must be invertible, got"),
        (blobs((9, 8, 7), seed=0), SHEARED, "bad: axes must be at right angles, got"),
        (blobs((9, 1, 7), seed=0), np.eye(4), "bad: each edge must have at least 2 voxels, got"),
        (np.full((9, 8, 7), np.nan, np.float32), np.eye(4), "bad: voxels must be finite, got"),
    ],
)
def test_unusable_scan_is_refused_in_one_line(client, voxels, affine, message):
    with pytest.raises(ServingError, match=f"refused the scan: {message}") as caught:
        client.segment(Scan("bad", voxels, affine))
    assert "\n" not in str(caught.value)
    assert client.segment(scan_of((20, 30, 25))).mask.labels.any()


def test_request_without_voxels_is_refused(server):
    affine = triton.InferInput(names.AFFINE, (4, 4), "FP64").set_data_from_numpy(np.eye(4))
    with (
        triton.InferenceServerClient(server.url) as raw,
        pytest.raises(triton.InferenceServerException, match="must be given, got none"),
    ):
        raw.infer(names.FRONT_DOOR, [affine], client_timeout=10)


def test_clients_at_once_get_their_own_masks(server, network):
    scans = [scan_of((60, 50, 30 + seed), seed=seed) for seed in range(2)]

    def ask(scan):
        with SegmentationClient(server.url, timeout_s=30.0) as client:
            return [client.segment(scan).mask.labels for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, scans))
    for scan, masks in zip(scans, answers, strict=True):
        local = segment(scan, *network).labels
        assert all(np.array_equal(mask, local) for mask in masks)


def test_slow_answer_ends_at_the_deadline(server):
    scan = scan_of((220, 200, 180))
    begun = time.monotonic()
    with (
        SegmentationClient(server.url, timeout_s=0.1) as hasty,
        pytest.raises(ServingError, match=r"blobs0: .* must answer within 0\.1 s, got no answer"),
    ):
        hasty.segment(scan)
    assert time.monotonic() - begun < 1.5


def test_running_server_is_ready(client):
    assert client.is_ready()
