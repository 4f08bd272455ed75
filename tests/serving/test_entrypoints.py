"""What the containers start, with stand-ins that say how they were called."""

import json
import os
import re
import runpy
import signal
import stat
import subprocess

import boto3
import pytest

from deployed import SERVING

ENTRYPOINT = SERVING / "entrypoint.sh"
KEY = "k" * 40


def stand_in(folder, name, says='printf "%s\\n" "$@"'):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)


@pytest.fixture
def start(tmp_path):
    """Run the entrypoint: its arguments to tritonserver, or what it says on refusal."""
    stand_in(tmp_path, "tritonserver")
    (tmp_path / "models").mkdir()
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text(name)
    (tmp_path / "admin").write_text(f"{KEY}\n")

    def run(*arguments, **variables):
        place = {name: str(tmp_path / value) for name, value in variables.items()}
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "MODELS": str(tmp_path / "models"),
        }
        done = subprocess.run(
            [ENTRYPOINT, *arguments],
            env=environment | place, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return (done.stdout if done.returncode == 0 else done.stderr).splitlines()

    return run


def test_without_a_word_everything_is_off(start):
    said = start()
    assert "--model-control-mode=none" in said
    assert "--http-address=127.0.0.1" in said
    assert not [line for line in said if "ssl" in line or "trace-config" in line]


def test_restricted_protocols_get_a_key_that_nobody_knows(start):
    first, second = (
        next(line for line in start() if line.startswith("--grpc-restricted-protocol="))
        for _ in range(2)
    )
    protocols, _, key = first.partition(":admin-key=")
    assert protocols.endswith("=model-repository,shared-memory,trace,logging")
    assert re.fullmatch("[0-9a-f]{64}", key)
    assert first != second


def test_whoever_has_the_key_may_change_models(start):
    said = start(ADMIN_KEY_FILE="admin")
    assert "--model-control-mode=explicit" in said
    assert "--load-model=*" in said
    assert [line for line in said if line.endswith(f":admin-key={KEY}")] == [
        f"--grpc-restricted-protocol=model-repository,shared-memory,trace,logging:admin-key={KEY}",
        "--http-restricted-api=model-repository,shared-memory,trace,logging,inference,"
        f"model-config,statistics:admin-key={KEY}",
    ]


def test_certificates_turn_tls_on_and_an_authority_makes_it_mutual(start, tmp_path):
    said = start(TLS_CERT="cert", TLS_KEY="key")
    assert f"--grpc-server-cert={tmp_path / 'cert'}" in said
    assert "--grpc-use-ssl=true" in said
    assert "--grpc-use-ssl-mutual=true" not in said
    said = start(TLS_CERT="cert", TLS_KEY="key", TLS_CA="ca")
    assert "--grpc-use-ssl-mutual=true" in said
    assert f"--grpc-root-cert={tmp_path / 'ca'}" in said


def test_traces_never_hold_tensors(start):
    said = [line for line in start(TRACE_URL="collector") if "trace-config" in line]
    assert "--trace-config=level=TIMESTAMPS" in said
    assert "--trace-config=rate=100" in said
    assert "TENSORS" not in ENTRYPOINT.read_text()


def test_more_arguments_are_passed_on(start):
    assert "--grpc-port=9001" in start("--grpc-port=9001")


def test_the_readme_has_every_variable():
    used = set(re.findall(r"\$\{([A-Z_]+):-", ENTRYPOINT.read_text()))
    text = (SERVING / "README.md").read_text()
    table = text[text.index("| variable |") : text.index("Arguments go to")]
    assert set(re.findall(r"`([A-Z_]+)`", table)) == used


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MODELS": "nowhere"}, "MODELS must name a model repository, got /.*/nowhere"),
        ({"TLS_CERT": "cert"}, "TLS_KEY must name a readable file, got nothing"),
        ({"TLS_KEY": "key"}, "TLS_CERT must name a readable file, got nothing"),
        ({"TLS_CA": "ca"}, "TLS_CERT must name a readable file, got nothing"),
        ({"TLS_CERT": "gone", "TLS_KEY": "key"}, "TLS_CERT must .*, got /.*/gone"),
        ({"TLS_CERT": "cert", "TLS_KEY": "key", "TLS_CA": "gone"}, "TLS_CA must .*, got /.*/gone"),
        ({"ADMIN_KEY_FILE": "gone"}, "ADMIN_KEY_FILE must name a readable file, got /.*/gone"),
        ({"ADMIN_KEY_FILE": "key"}, "ADMIN_KEY_FILE must hold at least 32 characters, got 3"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(start, variables, message):
    (said,) = start(**variables)
    assert re.fullmatch(f"entrypoint: {message}", said)


def test_the_signal_that_stops_a_container_reaches_the_server(tmp_path):
    stand_in(tmp_path, "tritonserver", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")
    with subprocess.Popen(
        [ENTRYPOINT],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "MODELS": str(tmp_path)},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 7


def mlflow(tmp_path, password):
    stand_in(tmp_path, "mlflow", 'echo "$MLFLOW_BACKEND_STORE_URI"; printf "%s\\n" "$@"')
    (tmp_path / "password").write_text(password)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run(
        [SERVING / "mlflow/entrypoint.sh"],
        env=environment | {"POSTGRES_PASSWORD_FILE": str(tmp_path / "password")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_mlflow_keeps_the_password_out_of_its_arguments(tmp_path):
    address, *arguments = mlflow(tmp_path, "abc123\n").stdout.splitlines()
    assert address == "postgresql+psycopg://mlflow:abc123@postgres/mlflow"
    assert "abc123" not in " ".join(arguments)
    assert "s3://mlflow" in arguments


@pytest.mark.parametrize("password", ["", "a@b", "a b"])
def test_mlflow_refuses_a_password_that_breaks_an_address(tmp_path, password):
    done = mlflow(tmp_path, password)
    assert done.returncode == 1
    assert done.stderr.endswith("password must hold letters and digits only\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def store(monkeypatch):
    """An S3 server on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(name, value)
    yield f"http://{host}:{port}"
    server.stop()


def test_the_bucket_is_made_once(store):
    for _ in range(2):
        runpy.run_path(str(SERVING / "mlflow/create_bucket.py"), run_name="__main__")
    buckets = boto3.client("s3", endpoint_url=store).list_buckets()["Buckets"]
    assert [bucket["Name"] for bucket in buckets] == ["mlflow"]


@pytest.fixture
def secrets(tmp_path):
    folder = tmp_path / "secrets"
    subprocess.run([SERVING / "secrets.sh", folder], check=True, capture_output=True)
    return folder


def test_secrets_are_new_and_fit_together(secrets, tmp_path):
    subprocess.run([SERVING / "secrets.sh", tmp_path / "more"], check=True, capture_output=True)
    for path in secrets.iterdir():
        assert path.read_text() != (tmp_path / "more" / path.name).read_text()
    (identity,) = json.loads((secrets / "s3_identities").read_text())["identities"]
    (pair,) = identity["credentials"]
    keys = (secrets / "aws_credentials").read_text()
    assert f"aws_access_key_id = {pair['accessKey']}\n" in keys
    assert f"aws_secret_access_key = {pair['secretKey']}\n" in keys
    assert len((secrets / "admin_key").read_text()) >= 32
    assert (secrets / "postgres_password").read_text().isalnum()


def test_secrets_are_nobody_elses(secrets):
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}


def test_secrets_are_not_replaced(secrets):
    before = {path: path.read_text() for path in secrets.iterdir()}
    done = subprocess.run(
        [SERVING / "secrets.sh", secrets], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"secrets: \S+/postgres_password must not exist yet, got one\n", done.stderr
    )
    assert before == {path: path.read_text() for path in secrets.iterdir()}
