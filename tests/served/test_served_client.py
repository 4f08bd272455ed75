"""What the client makes of every way to fail, without a server."""

import subprocess
import sys
import time

import pytest
import tritonclient.grpc as triton
from threshold_network import scan_of

from dyntransnet.client import Policy, SegmentationClient
from dyntransnet.errors import (
    BusyError,
    DeadlineError,
    NotReadyError,
    RefusedError,
    ServingError,
    UnreachableError,
)

NOBODY = "127.0.0.1:9"


FEW = Policy(tries=3, first_pause_s=0.02)


@pytest.fixture
def failing(monkeypatch):
    """Make every request fail in one way; gives the list of tries."""
    tries = []

    def fail_with(code, message):
        def infer(self, *args, **kwargs):
            tries.append(kwargs)
            raise triton.InferenceServerException(message, f"StatusCode.{code}")

        monkeypatch.setattr(triton.InferenceServerClient, "infer", infer)
        return tries

    return fail_with


@pytest.mark.parametrize(
    ("code", "message", "tries", "error", "match"),
    [
        ("UNAVAILABLE", "failed to connect", 3, UnreachableError, "must be reachable, got failed"),
        ("UNAVAILABLE", "Socket closed", 3, UnreachableError, "must keep the connection, got So"),
        ("UNAVAILABLE", "Exceeds maximum queue size", 3, BusyError, "must have room in its queue"),
        (
            "UNAVAILABLE",
            "Request timeout expired",
            1,
            DeadlineError,
            "must answer in time, got Requ",
        ),
        ("UNAVAILABLE", "model has no versions", 1, NotReadyError, "must have its models ready"),
        ("NOT_FOUND", "Request for unknown model", 1, NotReadyError, "must have its models ready"),
        (
            "DEADLINE_EXCEEDED",
            "Exceeded",
            1,
            DeadlineError,
            "must answer within 5 s, got no answer",
        ),
        ("INVALID_ARGUMENT", "a: wrong\nAt", 1, RefusedError, r"refused the scan: a: wrong \(requ"),
        ("INTERNAL", "bad", 1, ServingError, "must answer, got INTERNAL: bad"),
    ],
)
def test_failures_are_told_apart(failing, code, message, tries, error, match):
    made = failing(code, message)
    with (
        SegmentationClient(NOBODY, timeout_s=5.0, policy=FEW) as client,
        pytest.raises(ServingError, match=match) as caught,
    ):
        client.segment(scan_of((4, 5, 6)))
    assert type(caught.value) is error
    assert len(made) == tries
    assert caught.value.request_id in str(caught.value)


def test_tries_share_one_budget_and_one_id(failing):
    made = failing("UNAVAILABLE", "Exceeds maximum queue size")
    with (
        SegmentationClient(NOBODY, timeout_s=5.0, policy=FEW) as client,
        pytest.raises(BusyError, match=r"\(request mine, sent 3 times\)$"),
    ):
        client.segment(scan_of((4, 5, 6)), request_id="mine")
    budgets = [each["client_timeout"] for each in made]
    assert 5 >= budgets[0] > budgets[1] > budgets[2]
    assert {each["request_id"] for each in made} == {"mine"}
    # The server is told in microseconds.
    assert [each["timeout"] / 1e6 for each in made] == pytest.approx(budgets, abs=0.01)


def test_what_happens_is_told_step_by_step():
    told = []
    with (
        SegmentationClient(NOBODY, policy=Policy(tries=2)) as client,
        pytest.raises(UnreachableError, match=r"must be reachable, got .*mine, sent 2 times\)$"),
    ):
        client.segment(scan_of((4, 5, 6)), on_progress=told.append, request_id="mine")
    assert [(each.phase.value, each.server, each.tries) for each in told] == [
        ("sending", NOBODY, 1), ("waiting", "", 1), ("sending", NOBODY, 2),
    ]  # fmt: skip
    assert {(each.case, each.request_id) for each in told} == {("blobs0", "mine")}


def test_no_server_is_told_quickly():
    begun = time.monotonic()
    with (
        SegmentationClient(NOBODY, timeout_s=20.0) as client,
        pytest.raises(ServingError, match=f"blobs0: server at {NOBODY} must be reachable, got"),
    ):
        client.segment(scan_of((4, 5, 6)))
    assert time.monotonic() - begun < 5


def test_absent_server_is_not_ready():
    with SegmentationClient(NOBODY, timeout_s=5.0) as client:
        assert not client.is_ready()


def test_missing_tritonclient_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(ServingError, match=r"pip install 'dyntransnet\[client\]'"):
        SegmentationClient(NOBODY)


def test_importing_the_client_brings_in_nothing_heavy():
    """What takes the seconds of an import are its modules; benchmarks/client.py counts those."""
    code = "import sys, dyntransnet.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    heavy = {"torch", "monai", "mlflow", "dvc", "onnx", "openvino", "matplotlib", "pandas"}
    assert not (heavy | {"tritonclient", "grpc", "pydicom", "typer"}) & set(loaded)
    assert len(loaded) < 700
