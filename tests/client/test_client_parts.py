"""What the client makes of a scan, an answer and a gRPC status, without a server."""

import json
import logging
import os
from types import SimpleNamespace

import numpy as np
import pytest

from builders import affine_of, blobs
from dyntransnet import repository as names
from dyntransnet.client import Tls, regions
from dyntransnet.client.channel import addresses_of, headers_of
from dyntransnet.client.faults import Fault, fault_of
from dyntransnet.client.regions import SHARED_MEMORY, Sharing, region_for
from dyntransnet.client.wire import (
    LIMIT_BYTES,
    check_message,
    read_report,
    request_of,
    segmentation_of,
)
from dyntransnet.errors import RefusedError, ServingError
from dyntransnet.imaging.presets import Preset
from dyntransnet.imaging.scan import Scan

SHAPE = (9, 7, 5)


def request(voxels: np.ndarray | None = None):
    values = (60 * blobs(SHAPE, seed=1)).astype(np.int16) if voxels is None else voxels
    return request_of(Scan("a", values, affine_of(SHAPE)), Preset.FAST, "id1")


def answer(report: object, request_id: str = "id1") -> SimpleNamespace:
    """As tritonclient gives it."""
    tensors = {names.REPORT: np.array([report], np.object_)}
    return SimpleNamespace(
        get_response=lambda: SimpleNamespace(id=request_id), as_numpy=tensors.get
    )


@pytest.mark.parametrize(
    ("code", "message", "fault"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; ... Socket closed", Fault.UNREACHED),
        ("UNAVAILABLE", "errors resolving nohost:9: Domain name not found", Fault.UNREACHED),
        ("UNAVAILABLE", "Stream removed (Socket closed)", Fault.LOST),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", Fault.LOST),
        ("UNAVAILABLE", "Stream removed (sendmsg: Broken pipe (32))", Fault.LOST),
        ("UNAVAILABLE", "GOAWAY received", Fault.LOST),
        ("UNAVAILABLE", "failed to connect; Ssl handshake failed: CERTIFICATE", Fault.UNTRUSTED),
        ("UNAVAILABLE", "Exceeds maximum queue size", Fault.BUSY),
        ("UNAVAILABLE", "Request timeout expired", Fault.OVERDUE),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped", Fault.STOPPING),
        ("UNAVAILABLE", "server is stopping, send the scan again", Fault.STOPPING),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'x'", Fault.REFUSED),
        ("NOT_FOUND", "Request for unknown model", Fault.NOT_READY),
        ("DEADLINE_EXCEEDED", "Stream removed (Deadline Exceeded)", Fault.LATE),
        ("INVALID_ARGUMENT", "a: wrong", Fault.REFUSED),
        ("INTERNAL", "internal error", Fault.BROKEN),
        ("CANCELLED", "the work took longer than 3 s", Fault.OVERDUE),
    ],
)
def test_statuses_are_told_apart(code, message, fault):
    assert fault_of(code, message).fault is fault


def test_only_the_first_line_of_a_message_is_kept():
    assert fault_of("INVALID_ARGUMENT", "a: wrong\nAt: file").said == "a: wrong"
    assert fault_of("INTERNAL", "\n").said == "INTERNAL: "


def test_int16_travels_as_it_is_and_all_else_as_float32():
    whole, real = request(), request(blobs(SHAPE, seed=1))
    assert (whole.voxels.name, whole.voxels.kind) == (names.VOXELS, "INT16")
    assert whole.voxels.array is whole.scan.voxels
    assert (real.voxels.name, real.voxels.kind) == (names.VOXELS_FLOAT, "FP32")


@pytest.mark.parametrize("given", ["", "a b", "../a", "x" * 65])
def test_an_id_that_no_server_takes_is_refused_before_it_is_sent(given):
    with pytest.raises(RefusedError, match=r"a: request id must be 1 to 64 of .*, got '"):
        request_of(request().scan, Preset.FAST, given)


@pytest.mark.parametrize(("slices", "fits"), [(4095, True), (4096, False)])
def test_a_scan_beyond_one_message_is_refused_before_it_is_sent(slices, fits):
    empty = np.lib.stride_tricks.as_strided(np.zeros(1, np.int16), (512, 512, slices), (0, 0, 0))
    asked = request(empty)
    if fits:
        check_message(asked)
        return
    rule = f"a: voxels must fit into one gRPC message of {LIMIT_BYTES} bytes, got 2147483648 bytes"
    with pytest.raises(RefusedError, match=f"{rule} of .* int16 .request id1"):
        check_message(asked)


def test_a_report_gets_the_id_of_its_request():
    found = read_report(answer(json.dumps({"liver_ml": 3.5}).encode()), request())
    assert found == {"liver_ml": 3.5, "request_id": "id1"}


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (answer(b"{}", "id2"), "must carry its id, got the answer to id2"),
        (answer(b"no json"), "must hold a report in JSON, got Expecting value"),
        (SimpleNamespace(get_response=answer(b"").get_response, as_numpy={}.get), "must hold a re"),
    ],
)
def test_an_answer_to_something_else_is_not_believed(given, rule):
    with pytest.raises(ServingError, match=f"a: the server's answer {rule}"):
        read_report(given, request())


@pytest.mark.parametrize(
    ("labels", "got"),
    [
        (np.zeros((7, 9, 5), np.uint8), r"uint8 \(7, 9, 5\)"),
        (np.zeros(SHAPE, np.int16), r"int16 \(9, 7, 5\)"),
        (None, "none"),
    ],
)
def test_a_mask_of_another_grid_is_not_believed(labels, got):
    rule = r"answer must hold a uint8 mask of \(9, 7, 5\), got "
    with pytest.raises(ServingError, match=rule + got + r" \(request id1\)"):
        segmentation_of(labels, {}, request())


def test_a_mask_can_be_written_to_and_has_x_run_fastest():
    labels = np.zeros(SHAPE, np.uint8)
    labels.flags.writeable = False
    mask = segmentation_of(labels, {}, request()).mask
    mask.labels[0] = 1
    assert mask.labels.flags.f_contiguous
    np.testing.assert_array_equal(mask.affine, affine_of(SHAPE))


def test_servers_may_be_given_in_one_string_or_in_several():
    assert addresses_of("a:1, b:2,a:1") == addresses_of(["a:1", "b:2"]) == ["a:1", "b:2"]
    assert addresses_of("[::1]:8001") == ["[::1]:8001"]


@pytest.mark.parametrize("url", ["", "host", "host:port", "http://host:8001", ":8001", []])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ServingError, match=r"server must be HOST:PORT, got"):
        addresses_of(url)


def test_names_of_metadata_are_lower_case_on_the_wire():
    assert headers_of({"Triton-grpc-protocol-K": "v"}) == {"triton-grpc-protocol-k": "v"}
    assert headers_of(None) == {}


@pytest.mark.parametrize(
    ("metadata", "rule"),
    [
        ({"a b": "secret"}, "a name must be letters, digits, - and _, got 'a b'"),
        ({"a": "secret\n"}, "a must be printable ASCII, got something else"),
    ],
)
def test_metadata_that_grpc_does_not_carry_is_refused_without_its_value(metadata, rule):
    with pytest.raises(ServingError, match=rule) as caught:
        headers_of(metadata)
    assert "secret" not in str(caught.value)


def test_files_of_certificates_are_checked_before_anything_is_sent(tmp_path):
    (tmp_path / "ca.pem").write_text("x")
    assert Tls(tmp_path / "ca.pem").options() == {
        "ssl": True, "root_certificates": str(tmp_path / "ca.pem"),
        "certificate_chain": None, "private_key": None,
    }  # fmt: skip
    with pytest.raises(ServingError, match=r"tls: .*gone must be readable, got No such file"):
        Tls(tmp_path / "gone").options()
    with pytest.raises(ServingError, match="certificate and key must be given together, got one"):
        Tls(certificate=tmp_path / "ca.pem").options()


def left_over() -> list[str]:
    return [path.name for path in SHARED_MEMORY.glob(f"dyntransnet-{os.getpid()}-id1-*")]


def test_a_region_holds_the_voxels_and_is_gone_afterwards():
    asked = request()
    with region_for(asked, 1) as region:
        assert left_over() == [f"dyntransnet-{os.getpid()}-id1-1"]
        held = np.frombuffer((SHARED_MEMORY / region.name).read_bytes(), np.uint8)
        voxels = held[: region.voxel_bytes].view(np.int16).reshape(SHAPE)
        np.testing.assert_array_equal(voxels, asked.scan.voxels)
        assert region.labels(SHAPE).sum() == 0
    assert left_over() == []


@pytest.mark.parametrize("free", [0, 10**18])
def test_a_region_that_memory_does_not_hold_is_refused_and_gone(monkeypatch, free):
    """Nor what the file system of shared memory does not hold."""
    monkeypatch.setattr(regions, "free_bytes", lambda: free)
    empty = np.lib.stride_tricks.as_strided(np.zeros(1, np.int16), (1 << 14,) * 3, (0, 0, 0))
    with (
        pytest.raises(OSError, match=r"Cannot allocate memory|No space left on device"),
        region_for(request(empty), 1),
    ):
        pass
    assert left_over() == []


def test_memory_is_shared_with_this_host_only_and_the_log_says_so_once(caplog):
    sharing = Sharing(wanted=True)
    assert sharing.is_with("127.0.0.1:8001")
    with caplog.at_level(logging.WARNING):
        assert [sharing.is_with("10.0.0.7:8001") for _ in range(2)] == [False, False]
    (line,) = caplog.messages
    assert line.startswith("10.0.0.7:8001: scans go over the wire, not through shared memory")
    assert not Sharing(wanted=False).is_with("127.0.0.1:8001")
