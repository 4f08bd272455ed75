"""The container's entrypoint and the files around it, against the real server."""

import json
import re
import shutil
import subprocess
import sys
import time

import pytest
import tritonclient.grpc as triton
import yaml
from operated import HEADER, KEY, collecting, operating
from threshold_network import scan_of

from deployed import OWN, SERVING, metric_names
from dyntransnet import repository as names
from dyntransnet.config import PublishParams
from dyntransnet.errors import ServingError
from dyntransnet.imaging.segment import segment
from dyntransnet.rollout import swap
from dyntransnet.rollout.control import Address, Controller
from dyntransnet.rollout.swap import Candidate
from dyntransnet.runtimes.golden import Golden

pytestmark = pytest.mark.triton

FROM_PROMETHEUS = {"up"}
"""What Prometheus writes itself about every job."""


@pytest.fixture(scope="module")
def collector():
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def operated(repository, collector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operated")
    with operating(repository, folder, collector.server_port) as running:
        yield running


def exported(running):
    """Names of the metrics, those of a summary's parts included."""
    _, text = running.get("/metrics", "metrics")
    return set(re.findall(r"^([a-z_:]+)[{ ]", text, re.MULTILINE))


def test_a_client_with_a_certificate_gets_its_mask(operated):
    with operated.client() as client:
        assert operated.segment(client).any()


def test_a_client_without_one_gets_nothing(operated):
    with operated.client(known=False) as client, pytest.raises(triton.InferenceServerException):
        client.is_server_live(client_timeout=3)
    plain = triton.InferenceServerClient(f"localhost:{operated.ports['grpc']}")
    with plain, pytest.raises(triton.InferenceServerException):
        plain.is_server_live(client_timeout=3)


def test_models_are_changed_with_the_key_only(operated):
    with operated.client() as client:
        for headers in (None, {"triton-grpc-protocol-admin-key": "wrong"}):
            with pytest.raises(triton.InferenceServerException, match="protocol is restricted"):
                client.load_model(names.FRONT_DOOR, headers=headers, client_timeout=5)
        index = client.get_model_repository_index(headers=HEADER, client_timeout=5)
    assert {model.name for model in index.models} >= {names.FRONT_DOOR, names.NETWORK}


@pytest.fixture
def control(operated):
    """As ``dyntransnet publish --to`` connects."""
    files = {"ca": "ca.crt", "cert": "client.crt", "key": "client.key"}
    paths = {name: operated.folder / file for name, file in files.items()}
    address = Address(f"localhost:{operated.ports['grpc']}", control_key=KEY, **paths)
    with Controller(address) as connected:
        yield connected


def test_a_version_is_swapped_in_and_back(operated, control, network, tmp_path):
    published = operated.folder / "models" / names.NETWORK / names.VERSION
    for name in ("model.onnx", "contract.json"):
        shutil.copyfile(published / name, tmp_path / name)
    scan = scan_of((40, 30, 20))
    candidate = Candidate(tmp_path, {}, Golden(scan, segment(scan, *network)), min_dice=1.0)
    params = PublishParams(backend="python", runtime="onnxruntime", precision="fp32")
    now = swap.put(candidate, operated.folder / "models", control, params)
    assert control.ask(scan)[1]["network_version"] == now.version == 2
    assert swap.back(operated.folder / "models", control).version == 1
    assert control.ask(scan)[1]["network_version"] == 1


def test_a_version_that_does_not_load_leaves_the_old_one_at_work(operated, control):
    model = operated.folder / "models" / names.NETWORK / names.VERSION / "model.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole + b"x")
    try:
        with pytest.raises(ServingError, match="sha256 must be"):
            control.load(names.NETWORK)
        with operated.client() as client:
            assert operated.segment(client).any()
    finally:
        model.write_bytes(whole)
    control.load(names.NETWORK)


def test_log_and_trace_settings_need_the_key_too(operated):
    with operated.client() as client:
        for change in (client.update_log_settings, client.update_trace_settings):
            with pytest.raises(triton.InferenceServerException, match="protocol is restricted"):
                change(settings={}, client_timeout=5)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/v2/models/{names.FRONT_DOOR}/infer", b"{}"),
        (f"/v2/models/{names.FRONT_DOOR}/stats", None),
        (f"/v2/models/{names.FRONT_DOOR}/config", None),
        ("/v2/repository/index", b"{}"),
        (f"/v2/repository/models/{names.FRONT_DOOR}/unload", b"{}"),
        ("/v2/systemsharedmemory/status", None),
        ("/v2/trace/setting", None),
        ("/v2/logging", None),
    ],
)
def test_http_is_left_with_health_and_metadata(operated, path, body):
    assert operated.get(path, body=body)[0] == 403


def test_the_probes_ask_what_the_server_answers(operated):
    deployment = yaml.safe_load((SERVING / "kubernetes/base/deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert operated.get(container[probe]["httpGet"]["path"])[0] == 200


def test_what_prometheus_asks_for_readiness_is_an_empty_page(operated):
    jobs = yaml.safe_load((SERVING / "prometheus/prometheus.yaml").read_text())["scrape_configs"]
    (path,) = [job["metrics_path"] for job in jobs if job["job_name"] == "triton-ready"]
    assert operated.get(path) == (200, "")


def test_the_health_check_of_the_image_tells_up_from_down(operated):
    (check,) = re.findall(r"CMD (\[.*\])", (SERVING / "Dockerfile").read_text())
    _, option, code = json.loads(check)
    for port, expected in ((operated.ports["http"], 0), (1, 1)):
        asked = [sys.executable, option, code.replace(":8000", f":{port}")]
        assert subprocess.run(asked, check=False, capture_output=True).returncode == expected


def test_every_metric_that_is_asked_for_is_there(operated):
    with operated.client() as client:
        operated.segment(client)
    there = exported(operated) | FROM_PROMETHEUS
    own_too = any(name.startswith(OWN) for name in there)
    for where, asked in metric_names().items():
        wanted = {name for name in asked if own_too or not name.startswith(OWN)}
        assert wanted <= there, where


def test_labels_that_are_asked_for_are_there(operated):
    _, text = operated.get("/metrics", "metrics")
    for reason in ("REJECTED", "BACKEND", "OTHER"):
        assert f'nv_inference_request_failure{{model="{names.FRONT_DOOR}",reason="{reason}"' in text
    assert re.search(r'request_summary_us{model="\w+",version="1",quantile="0.99"} \d', text)


def test_a_trace_reaches_the_collector_and_holds_no_voxel(operated, collector):
    with operated.client() as client:
        operated.segment(client)
    deadline = time.monotonic() + 15
    while not collector.taken and time.monotonic() < deadline:
        time.sleep(0.1)
    taken = b"".join(collector.taken)
    assert names.FRONT_DOOR.encode() in taken
    assert names.MASK.encode() not in taken
    assert len(taken) < scan_of((40, 30, 20)).voxels.nbytes


def test_the_key_does_not_reach_the_log(operated):
    assert KEY not in operated.log.read_text()


def test_a_model_that_is_gone_is_told_to_the_probes(operated):
    with operated.client() as client:
        client.unload_model(names.FRONT_DOOR, headers=HEADER, client_timeout=10)
        deadline = time.monotonic() + 10
        while operated.get("/v2/health/ready")[0] == 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert operated.get(f"/v2/models/{names.FRONT_DOOR}/ready")[0] == 400
        assert operated.get("/v2/health/ready")[0] == 400
        assert operated.get("/v2/health/live")[0] == 200
        client.load_model(names.FRONT_DOOR, headers=HEADER, client_timeout=20)
    assert operated.get("/v2/health/ready")[0] == 200
