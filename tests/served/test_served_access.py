"""TLS, client certificates and the control key, against the real server."""

from contextlib import closing
from http.client import HTTPConnection

import numpy as np
import pytest
import tritonclient.grpc as triton
from certificates import Authority
from raw import inputs_of
from threshold_network import scan_of

from dyntransnet import repository as names
from dyntransnet.errors import ServingError
from dyntransnet.server import Access, Tls, TritonServer
from dyntransnet.server.access import read_control_key, tls_of

pytestmark = pytest.mark.triton

SCAN = scan_of((40, 30, 20))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"), "hospital")


@pytest.fixture(scope="module")
def guarded(repository, hospital):
    """A server that shows a certificate and wants one."""
    cert, key = hospital.issue("server")
    with TritonServer(repository, timeout_s=60.0, access=Access(Tls(cert, key, hospital.ca))) as up:
        yield up


def mask_from(server, root, cert=None, key=None) -> np.ndarray:
    files = {"certificate_chain": cert, "private_key": key}
    with triton.InferenceServerClient(
        server.url, ssl=True, root_certificates=str(root),
        **{name: str(path) if path else None for name, path in files.items()},
    ) as raw:  # fmt: skip
        return raw.infer(names.FRONT_DOOR, inputs_of(SCAN), client_timeout=10).as_numpy(names.MASK)


def test_a_client_with_a_certificate_is_answered(guarded, hospital):
    assert mask_from(guarded, hospital.ca, *hospital.issue("client")).any()


def test_a_client_without_or_with_a_foreign_certificate_is_not(guarded, hospital, tmp_path):
    foreign = Authority(tmp_path, "elsewhere")
    for shown in ((None, None), foreign.issue("client")):
        with pytest.raises(triton.InferenceServerException, match="UNAVAILABLE"):
            mask_from(guarded, hospital.ca, *shown)


def test_a_server_with_a_foreign_certificate_is_not_trusted(guarded, hospital, tmp_path):
    with pytest.raises(triton.InferenceServerException, match="UNAVAILABLE"):
        mask_from(guarded, Authority(tmp_path, "elsewhere").ca, *hospital.issue("client"))


def test_plain_grpc_is_not_answered(guarded):
    with (
        triton.InferenceServerClient(guarded.url) as raw,
        pytest.raises(triton.InferenceServerException, match="UNAVAILABLE"),
    ):
        raw.infer(names.FRONT_DOOR, inputs_of(SCAN), client_timeout=10)


@pytest.mark.parametrize(
    ("method", "path", "is_open"),
    [
        ("GET", "/v2/health/ready", True),
        ("GET", f"/v2/models/{names.FRONT_DOOR}/ready", True),
        ("POST", f"/v2/models/{names.FRONT_DOOR}/infer", False),
        ("GET", f"/v2/models/{names.FRONT_DOOR}/config", False),
        ("POST", "/v2/repository/index", False),
        ("GET", "/v2/systemsharedmemory/status", False),
        ("POST", "/v2/logging", False),
    ],
)
def test_http_has_no_tls_and_so_tells_of_health_alone(guarded, method, path, is_open):
    with closing(HTTPConnection("127.0.0.1", guarded.http_port, timeout=10)) as connection:
        connection.request(method, path, body=b"{}" if method == "POST" else None)
        assert (connection.getresponse().status == 200) == is_open


def test_without_a_key_nobody_changes_what_is_loaded(server):
    with (
        triton.InferenceServerClient(server.url) as raw,
        pytest.raises(triton.InferenceServerException, match="is not allowed"),
    ):
        raw.unload_model(names.NETWORK)


def test_a_missing_certificate_is_named(repository, hospital, tmp_path):
    cert, _ = hospital.issue("server")
    tls = Tls(cert, tmp_path / "none.key")
    with pytest.raises(ServingError, match=r"none\.key: must be the PEM file for grpc-server-key"):
        TritonServer(repository, access=Access(tls)).__enter__()


def test_tls_needs_both_of_a_pair(tmp_path):
    assert tls_of(None, None, None) is None
    with pytest.raises(ServingError, match="--tls-cert and --tls-key must be given together"):
        tls_of(None, None, tmp_path)


def test_a_key_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    assert read_control_key(None) is None
    monkeypatch.setenv("DYNTRANSNET_CONTROL_KEY", "from-the-environment")
    assert read_control_key(None) == "from-the-environment"
    (tmp_path / "key").write_text("from-a-file-instead\n")
    assert read_control_key(tmp_path / "key") == "from-a-file-instead"


@pytest.mark.parametrize("content", ["", "short", "with a space in it, long", "x" * 129])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path, content):
    (tmp_path / "key").write_text(content)
    with pytest.raises(ServingError, match=r"must hold 16 to 128 of .* got \d+ characters$"):
        read_control_key(tmp_path / "key")
