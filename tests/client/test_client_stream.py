"""What is said over a stream that tells of windows, message by message, without a server."""

import json

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from test_client_talk import OURS, SHAPE, URL, talk_of

from dyntransnet import repository as names
from dyntransnet.client.asking import Open, Read
from dyntransnet.client.faults import Fault, FaultError
from dyntransnet.client.policy import Policy
from dyntransnet.client.regions import Sharing
from dyntransnet.errors import (
    BusyError,
    DeadlineError,
    NotReadyError,
    RefusedError,
    ServingError,
    UnreachableError,
)

messages = triton.service_pb2


class Stream:
    """What a server says, in turn; a fault is raised, and None is the end."""

    def __init__(self, *said: object) -> None:
        self.said = [*said, None]
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


def said(request_id: str = "id1", **tensors: np.ndarray):
    answer = messages.ModelStreamInferResponse()
    answer.infer_response.id = request_id
    for name, array in tensors.items():
        kind = {"int32": "INT32", "uint8": "UINT8"}.get(str(array.dtype), "BYTES")
        answer.infer_response.outputs.add(name=name, datatype=kind, shape=array.shape)
        raw = array.tobytes() if kind != "BYTES" else triton_string(array[0])
        answer.infer_response.raw_output_contents.append(raw)
    return answer


def triton_string(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


def windows(*numbers: int):
    return said(progress=np.array(numbers, np.int32))


REPORT = np.array([json.dumps({"liver_ml": 1.0}).encode()], np.object_)
MASK = said(mask=np.ones(SHAPE, np.uint8), report=REPORT)


def carried(stream: Stream, *, sharing: Sharing | None = None, policy=None):
    """What was opened, what was told, and what came of a talk over a stream."""
    told, opened = [], []
    talk = talk_of(sharing or Sharing(wanted=False), policy, told.append)
    step, answers = next(talk), iter(stream.said)
    try:
        while True:
            reply = None
            if isinstance(step, Open):
                opened.append(step)
                reply = stream
            elif isinstance(step, Read):
                assert step.stream is stream
                reply = next(answers)
            step = talk.throw(reply) if isinstance(reply, Exception) else talk.send(reply)
    except StopIteration as end:
        return opened, told, end.value


def test_windows_are_told_as_they_come_and_then_the_mask_is_taken():
    stream = Stream(windows(0, 7), windows(4, 7), windows(7, 7), MASK)
    (opened,), told, found = carried(stream)
    assert opened.url == URL
    assert [(each.phase.value, each.done, each.total) for each in told] == [
        ("sending", 0, 0), ("working", 0, 7), ("working", 4, 7), ("working", 7, 7), ("done", 0, 0),
    ]  # fmt: skip
    assert {(each.server, each.tries, each.request_id) for each in told} == {(URL, 1, "id1")}
    assert found.report == {"liver_ml": 1.0, "request_id": "id1"}
    assert found.mask.labels.all()


def test_the_message_is_what_the_front_door_would_be_sent():
    (opened,), _, _ = carried(Stream(MASK))
    sent = opened.message
    assert (sent.model_name, sent.id) == (names.STREAM, "id1")
    assert [each.name for each in sent.outputs] == [names.PROGRESS, names.MASK, names.REPORT]
    held = {each.name: raw for each, raw in zip(sent.inputs, sent.raw_input_contents, strict=True)}
    voxels = np.frombuffer(held[names.VOXELS], np.int16).reshape(SHAPE)
    np.testing.assert_array_equal(voxels, np.arange(60).reshape(SHAPE))
    assert held[names.CASE] == triton_string(b"a")
    assert held[names.PRESET] == triton_string(b"standard")
    (limit,) = np.frombuffer(held[names.TIMEOUT])
    assert limit == opened.timeout_s == pytest.approx(10.0)
    assert sent.parameters["timeout"].int64_param == int(limit * 1e6)


def placed(tensor) -> tuple[str, int, int]:
    """Where in shared memory a tensor lies."""
    keys = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")
    region, size, offset = (tensor.parameters[key] for key in keys)
    return region.string_param, size.int64_param, offset.int64_param


def test_through_memory_the_message_says_where_voxels_and_mask_lie():
    (opened,), _, found = carried(Stream(windows(1, 1), MASK), sharing=Sharing(wanted=True))
    sent = opened.message
    assert placed(sent.inputs[0]) == (f"{OURS}-1", 120, 0)
    assert placed(sent.outputs[1]) == (f"{OURS}-1", 60, 120)
    assert len(sent.raw_input_contents) == len(sent.inputs) - 1
    assert not found.mask.labels.any()  # what stood in the region, not in the answer


@pytest.mark.parametrize(
    ("answers", "error", "match"),
    [
        ([], ServingError, "must answer, got the stream ended without an answer"),
        ([windows(1, 2)], ServingError, "must hold a report in JSON"),
        ([windows(3, 2)], ServingError, r"must tell of windows done and of how many, got \[3, 2\]"),
        ([windows(1)], ServingError, r"must tell of windows done and of how many, got \[1\]"),
        ([said("id2", progress=np.zeros(2, np.int32))], ServingError, "got the answer to id2"),
        ([said("id2", report=REPORT)], ServingError, "must carry its id, got the answer to id2"),
        ([said(report=REPORT)], ServingError, "must hold a uint8 mask of .*, got none"),
    ],
)
def test_an_answer_that_is_none_is_not_believed_and_the_stream_is_left(answers, error, match):
    stream = Stream(*answers)
    with pytest.raises(error, match=match) as caught:
        carried(stream)
    assert caught.value.request_id == "id1"
    assert stream.is_cancelled


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        (
            "INVALID_ARGUMENT: a: wrong",
            RefusedError,
            r"^server at .* refused the scan: a: wrong \(",
        ),
        ("CANCELLED: deadline of 3 s has passed", DeadlineError, "got deadline of 3 s has passed"),
        ("INTERNAL: a: wrong", ServingError, "must answer, got INTERNAL: a: wrong"),
        ("Stub process is not healthy", ServingError, "must answer, got INTERNAL: Stub process"),
        ("[request id: id1] Exceeds maximum queue size", BusyError, "must have room in its queue"),
        ("Request timeout expired", DeadlineError, "must answer in time, got Request timeout"),
        ("Request for unknown model: 'x' is not found", NotReadyError, "must have its models rea"),
        (
            "UNAVAILABLE: server is stopping, send the scan again",
            UnreachableError,
            "must go on run",
        ),
        ("Server is stopping, scheduler for model has stopped", UnreachableError, "must go on"),
        ("the scheduler has stopped accepting new requests", NotReadyError, "must have its model"),
    ],
)
def test_errors_in_a_stream_are_told_apart_as_those_of_a_call(words, error, match):
    refusal = messages.ModelStreamInferResponse(error_message=words)
    with pytest.raises(error, match=match) as caught:
        carried(Stream(windows(1, 3), refusal), policy=Policy(tries=1))
    assert type(caught.value) is error


def test_a_stream_that_breaks_is_begun_anew_and_windows_with_it():
    lost = FaultError(Fault.LOST, "socket closed")
    opened, told, found = carried(Stream(windows(4, 7), lost, windows(1, 7), MASK))
    assert len(opened) == 2
    assert [(each.tries, each.done) for each in told if each.total] == [(1, 4), (2, 1)]
    assert found.mask.labels.all()


def test_a_talk_that_is_dropped_cancels_its_stream():
    stream = Stream()
    talk = talk_of(Sharing(wanted=False), None, lambda step: None)
    next(talk)
    talk.send(stream)
    talk.close()
    assert stream.is_cancelled


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_listener_that_fails_cancels_the_stream(is_shared):
    """With any exception: a listener's closed pipe is no lack of shared memory."""
    stream, sharing = Stream(), Sharing(wanted=is_shared)

    def listen(step):
        if step.total:
            raise BrokenPipeError

    talk = talk_of(sharing, None, listen)
    step = next(talk)
    while not isinstance(step, Open):
        step = talk.send(None)
    talk.send(stream)
    with pytest.raises(BrokenPipeError):
        talk.send(windows(1, 2))
    assert stream.is_cancelled
    assert sharing.is_with(URL) == is_shared


def test_without_a_listener_no_stream_is_begun():
    step = next(talk_of(Sharing(wanted=False)))
    assert (step.method, step.arguments["model_name"]) == ("infer", names.FRONT_DOOR)


def test_a_connection_of_tritonclient_has_the_stub_that_streams_need():
    with triton.InferenceServerClient(URL) as connection:
        assert isinstance(connection._client_stub.ModelStreamInfer, grpc.StreamStreamMultiCallable)
