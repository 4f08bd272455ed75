"""What the client makes of every way to fail, without a server."""

import subprocess
import sys
import time

import pytest
import tritonclient.grpc as triton
from threshold_network import scan_of

from dyntransnet import client as module
from dyntransnet.client import SegmentationClient
from dyntransnet.errors import ServingError

NOBODY = "127.0.0.1:9"


@pytest.fixture
def failing(monkeypatch):
    """Make every request fail in one way; gives the list of tries."""
    tries = []

    def fail_with(code, message):
        def infer(self, *args, **kwargs):
            tries.append(kwargs["client_timeout"])
            raise triton.InferenceServerException(message, f"StatusCode.{code}")

        monkeypatch.setattr(triton.InferenceServerClient, "infer", infer)
        monkeypatch.setattr(module, "BACKOFF_S", (0.01, 0.02))
        return tries

    return fail_with


@pytest.mark.parametrize(
    ("code", "message", "tries", "match"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses", 3, "must be reachable, got failed"),
        ("UNAVAILABLE", "Socket closed", 3, "must be reachable, got Socket closed"),
        ("UNAVAILABLE", "Exceeds maximum queue size", 3, "must have room in its queue"),
        ("UNAVAILABLE", "Request timeout expired", 1, "must have its models ready"),
        ("UNAVAILABLE", "model has no available versions", 1, "must have its models ready"),
        ("NOT_FOUND", "Request for unknown model", 1, "must have its models ready"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", 1, "must answer within 5 s, got no answer"),
        ("INVALID_ARGUMENT", "a: wrong\nAt: file", 1, r"refused the scan: a: wrong$"),
        ("INTERNAL", "internal error", 1, "must answer, got INTERNAL: internal error"),
    ],
)
def test_failures_are_told_apart(failing, code, message, tries, match):
    made = failing(code, message)
    with (
        SegmentationClient(NOBODY, timeout_s=5.0) as client,
        pytest.raises(ServingError, match=match),
    ):
        client.segment(scan_of((4, 5, 6)))
    assert len(made) == tries


def test_retries_share_one_budget(failing):
    budgets = failing("UNAVAILABLE", "Exceeds maximum queue size")
    with SegmentationClient(NOBODY, timeout_s=5.0) as client, pytest.raises(ServingError):
        client.segment(scan_of((4, 5, 6)))
    assert 5 >= budgets[0] > budgets[1] > budgets[2]


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


def test_client_imports_no_training_stack():
    code = (
        "import sys, dyntransnet.client;"
        "print(sorted({'torch', 'monai', 'mlflow', 'tritonclient'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
