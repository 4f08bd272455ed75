"""What the front door makes of ids, deadlines and hostile requests, and what it keeps of them."""

import json
import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf import text_format
from raw import ask, ask_stream, counters, entries, inputs_of
from threshold_network import blobs, scan_of
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from dyntransnet import repository as names
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.scan import Scan
from dyntransnet.service.meters import FAMILIES

pytestmark = pytest.mark.triton

SCAN = scan_of((40, 30, 20))
HUGE = Scan("huge", np.tile(blobs((44, 40, 36), seed=1), (5, 5, 5)), SCAN.affine)
SECRET = "Doe^Jane"
NOWHERE = np.eye(4) * np.nan


def report_of(answer_) -> dict:
    return json.loads(answer_.as_numpy(names.REPORT)[0])


def test_a_request_id_comes_back_and_is_in_the_log(server):
    given = ask(server, SCAN, request_id="ward-7:42", case=SECRET)
    assert given.get_response().id == "ward-7:42"
    assert report_of(given)["request_id"] == "ward-7:42"
    (entry,) = [entry for entry in entries(server) if entry["request_id"] == "ward-7:42"]
    assert (entry["outcome"], entry["shape"], entry["preset"]) == (
        "answered", [40, 30, 20], "standard",
    )  # fmt: skip
    assert set(entry["phases"]) == {"network", "grid", "mask", "report"}
    assert entry["seconds"] >= sum(entry["phases"].values()) - 1e-3


def test_a_report_names_what_computed_it_as_the_configuration_does(server, repository):
    text = (repository / names.NETWORK / names.CONFIG_FILE).read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    for report in (report_of(ask(server, SCAN)), report_of(ask_stream(server, SCAN)[-1])):
        for key in (names.RUNTIME, names.PRECISION):
            assert report[key] == config.parameters[key].string_value


def test_a_refusal_names_the_request_only_where_the_client_could_not(server):
    bad = Scan("bad", SCAN.voxels, NOWHERE)
    with pytest.raises(triton.InferenceServerException, match=r"\]$"):
        ask(server, bad, request_id="mine")
    with pytest.raises(triton.InferenceServerException, match=r"\(request \w{32}\)$"):
        ask(server, bad)


def test_without_an_id_a_new_one_is_given_each_time(server):
    first, second = (report_of(ask(server, SCAN))["request_id"] for _ in range(2))
    assert first != second
    assert len(first) == 32


@pytest.mark.parametrize("given", ["a b", "x" * 65, 'a"}\n{"event'])
def test_an_id_that_could_forge_a_line_of_the_log_is_refused(server, given):
    with pytest.raises(triton.InferenceServerException, match="request id: must be 1 to 64"):
        ask(server, SCAN, request_id=given)


def test_no_line_of_the_log_names_a_case(server):
    with pytest.raises(triton.InferenceServerException, match="affine must be finite"):
        ask(server, Scan("a", SCAN.voxels, NOWHERE), request_id="named", case=SECRET)
    assert SECRET not in server.log.read_text()
    (entry,) = [entry for entry in entries(server) if entry["request_id"] == "named"]
    assert (entry["outcome"], entry["code"]) == ("refused", "affine-singular")


@pytest.mark.parametrize("limit", [{"timeout_s": 0.1}, {"timeout_us": 100_000}])
def test_work_ends_at_the_deadline_and_not_only_for_the_client(server, limit):
    before = counters(server)['dyntransnet_scans_total{outcome="late"}']
    with pytest.raises(triton.InferenceServerException, match=r"deadline of 0\.1 s has passed"):
        ask(server, HUGE, **limit)
    assert counters(server)['dyntransnet_scans_total{outcome="late"}'] == before + 1


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_timeout_that_is_none_is_refused(server, value):
    with pytest.raises(triton.InferenceServerException, match="timeout_s: must be above 0, got"):
        ask(server, SCAN, timeout_s=value)


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"network_version": "7"}, "network_version: must be a known one, got 7"),
        ({"network_version": "../1"}, "network_version: must be a number, got"),
        ({"case": "x" * 300}, "case: must have at most 256 letters, got 300"),
    ],
)
def test_inputs_that_no_client_sends_are_refused_in_one_line(server, more, rule):
    with pytest.raises(triton.InferenceServerException, match=rule):
        ask(server, SCAN, **more)


def claim(server, shape, data, kind="INT16", affine=None) -> None:
    """Send voxels that are not what they claim to be."""
    request = service_pb2.ModelInferRequest(model_name=names.FRONT_DOOR)
    grid = np.eye(4) if affine is None else affine
    for name, datatype, dims, content in (
        (names.VOXELS, kind, shape, data),
        (names.AFFINE, "FP64", grid.shape, grid.tobytes()),
    ):
        request.inputs.add(name=name, datatype=datatype, shape=dims)
        request.raw_input_contents.append(content)
    with grpc.insecure_channel(server.url) as channel:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)


@pytest.mark.parametrize(
    ("shape", "data", "kind"),
    [
        ((1024, 1024, 2048), b"1234", "INT16"),
        ((2**40, 2**40, 2**40), b"1234", "INT16"),
        ((-1, 4, 4), b"1234", "INT16"),
        ((0, 4, 4), b"", "INT16"),
        ((4, 8), b"0" * 64, "INT16"),
        ((4, 4, 4), b"0" * 64, "UINT8"),
        ((4, 4, 4), b"0" * 100, "INT16"),
    ],
)
def test_false_claims_are_refused_and_the_next_scan_is_right(server, network, shape, data, kind):
    with pytest.raises(grpc.RpcError) as caught:
        claim(server, shape, data, kind)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    labels = ask(server, SCAN).as_numpy(names.MASK)
    np.testing.assert_array_equal(labels, answer(SCAN, *network).mask.labels)


def test_probabilities_come_for_whoever_asks_and_are_those_of_an_answer_here(server, network):
    assert ask(server, SCAN).get_output(names.PROBABILITIES) is None
    served = ask(server, SCAN, names.MASK, names.PROBABILITIES).as_numpy(names.PROBABILITIES)
    local = answer(SCAN, *network, probabilities=True).probabilities
    np.testing.assert_array_equal(served, local)


def test_our_counters_count_what_was_answered(server):
    before = counters(server)
    report = report_of(ask(server, SCAN))
    changes = {name: value - before[name] for name, value in counters(server).items()}
    assert changes['dyntransnet_scans_total{outcome="answered"}'] == 1
    assert changes['dyntransnet_scans_total{outcome="failed"}'] == 0
    assert changes["dyntransnet_windows_total"] == 1
    assert changes['dyntransnet_phase_seconds{phase="network"}'] > 0
    raised = [name for name, by in changes.items() if by and "flags_total" in name]
    flags = [f'dyntransnet_flags_total{{flag="{flag}"}}' for flag in report["flags"]]
    assert sorted(raised) == sorted(flags)
    assert flags


def test_every_counter_is_there_from_the_start(server):
    shown = {name.split("{")[0] for name in counters(server)}
    assert shown == set(FAMILIES)


def test_the_stream_tells_of_progress_and_then_gives_the_answer(server, network):
    scan = scan_of((120, 110, 70))
    *progress, last = ask_stream(server, scan)
    told = [one.as_numpy(names.PROGRESS).tolist() for one in progress]
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 10
    assert last.as_numpy(names.PROGRESS) is None
    assert report_of(last)["request_id"] == "s-1"
    local = answer(scan, *network).mask.labels
    np.testing.assert_array_equal(last.as_numpy(names.MASK), local)


def test_the_stream_refuses_as_the_front_door_does_and_says_its_status(server):
    (refusal,) = ask_stream(server, Scan("a", SCAN.voxels, NOWHERE))
    assert str(refusal).startswith("INVALID_ARGUMENT: scan: affine must be finite, got [[nan")


def test_a_huge_scan_does_not_hold_up_a_small_one(server):
    done: list[float] = []
    begun = time.monotonic()
    with triton.InferenceServerClient(server.url) as raw:
        raw.async_infer(
            names.FRONT_DOOR,
            inputs_of(HUGE),
            outputs=[triton.InferRequestedOutput(names.MASK)],
            callback=lambda result, error: done.append(time.monotonic() - begun),
        )
        time.sleep(0.3)
        ask(server, SCAN)
        small = time.monotonic() - begun
        while not done and time.monotonic() - begun < 60:
            time.sleep(0.05)
    assert small < done[0]
