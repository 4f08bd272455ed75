"""A server that shows a certificate, asks for one, and for a key."""

import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from certificates import Authority
from threshold_network import scan_of

from dyntransnet.client import SegmentationClient, Tls
from dyntransnet.errors import RefusedError, UnreachableError
from dyntransnet.imaging.scan import read_mask, read_scan, write_scan
from dyntransnet.imaging.segment import segment
from dyntransnet.server import TritonServer
from dyntransnet.server import triton as module

pytestmark = pytest.mark.triton

KEY = {"triton-grpc-protocol-ward": "sesame"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def strict(repository, ours) -> Iterator[TritonServer]:
    """Triton with mutual TLS, inference only with a key."""
    certificate, key = ours.issue("server")
    options = (
        *("--grpc-use-ssl=true", "--grpc-use-ssl-mutual=true"),
        *(f"--grpc-server-cert={certificate}", f"--grpc-server-key={key}"),
        f"--grpc-root-cert={ours.ca}",
        "--grpc-restricted-protocol=inference:ward=sesame",
    )

    class Popen(subprocess.Popen):
        def __init__(self, command, **kwargs) -> None:
            super().__init__([*command, *options], **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.subprocess, "Popen", Popen)
        with TritonServer(repository, timeout_s=60.0) as running:
            patch.undo()
            yield running


@pytest.fixture(scope="module")
def tls(ours) -> Tls:
    return Tls(ours.ca, *ours.issue("client"))


def test_who_has_certificate_and_key_is_served(strict, tls, network):
    scan = scan_of((40, 50, 30))
    with SegmentationClient(strict.url, timeout_s=20.0, tls=tls, metadata=KEY) as client:
        assert client.is_ready()
        found = client.segment(scan)
    np.testing.assert_array_equal(found.mask.labels, segment(scan, *network).labels)


def test_a_server_of_another_authority_is_not_trusted(strict, tls, tmp_path):
    wrong = Tls(Authority(tmp_path, "theirs").ca, tls.certificate, tls.key)
    with (
        SegmentationClient(strict.url, timeout_s=20.0, tls=wrong, metadata=KEY) as client,
        pytest.raises(UnreachableError, match=r"must be trusted, got .*CERTIFICATE_VERIFY_FAILED"),
    ):
        client.segment(scan_of((8, 9, 10)))


@pytest.mark.parametrize("kind", ["none", "theirs", "no tls"])
def test_a_client_that_the_server_does_not_know_gets_no_mask(strict, tls, tmp_path, kind):
    known = {
        "none": lambda: Tls(tls.ca),
        "theirs": lambda: Tls(tls.ca, *Authority(tmp_path, "theirs").issue("client")),
        "no tls": lambda: None,
    }[kind]()
    with (
        SegmentationClient(strict.url, timeout_s=20.0, tls=known, metadata=KEY) as client,
        pytest.raises(UnreachableError, match=r"\(request "),
    ):
        client.segment(scan_of((8, 9, 10)))


@pytest.mark.parametrize("metadata", [None, {"triton-grpc-protocol-ward": "rosebud"}])
def test_who_has_not_the_key_is_refused_once_and_in_no_secret_words(strict, tls, metadata):
    with (
        SegmentationClient(strict.url, timeout_s=20.0, tls=tls, metadata=metadata) as client,
        pytest.raises(
            RefusedError, match=r"This protocol is restricted.*\(request \w+\)$"
        ) as caught,
    ):
        client.segment(scan_of((8, 9, 10)))
    assert "rosebud" not in str(caught.value) + repr(vars(caught.value))


def test_the_command_line_shows_certificate_and_key(strict, tls, network, tmp_path):
    scan = scan_of((40, 50, 30))
    write_scan(scan, tmp_path / "a.nii.gz")
    (tmp_path / "key").write_text("triton-grpc-protocol-ward: sesame\n")
    command = [
        *(
            sys.executable,
            "-m",
            "dyntransnet.cli",
            "segment",
            "a.nii.gz",
            "--output",
            "mask.nii.gz",
        ),
        *("--url", strict.url, "--tls-ca", tls.ca, "--tls-cert", tls.certificate),
        *("--tls-key", tls.key, "--metadata", "key", "--json"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["state"] == "done"
    local = segment(read_scan(tmp_path / "a.nii.gz"), *network)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii.gz").labels, local.labels)
