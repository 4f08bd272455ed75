"""compose.yaml: of Compose's own schema, hardened, without a default secret."""

import subprocess

import pytest

from deployed import ROOT, SERVING, complaints, read
from dyntransnet import repository as names

COMPOSE = read("compose.yaml")
SERVICES = COMPOSE["services"]
ONE_SHOT = {name for name, service in SERVICES.items() if service["restart"] == "no"}
services = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def test_it_is_a_compose_file():
    assert not complaints("compose-spec", COMPOSE)


def test_the_schema_refuses_what_compose_refuses():
    (said,) = complaints("compose-spec", {"services": {"one": {"image": "a", "prots": []}}})
    assert "'prots' was unexpected" in said


def test_it_has_what_a_hospital_runs():
    expected = {"triton", "triton-gpu", "mlflow", "postgres", "s3", "prometheus", "grafana"}
    assert set(SERVICES) - ONE_SHOT == expected


@services
def test_nothing_can_write_gain_rights_or_grow(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & set(service)


@services
def test_nothing_runs_as_root(service):
    if "build" in service:  # the image says it: test_dockerfiles
        assert "user" not in service
    else:
        assert int(service["user"].split(":")[0]) > 0


@services
def test_images_have_one_version(service):
    if "build" not in service:
        _, _, tag = service["image"].partition(":")
        assert tag[:1].isdigit() or tag[1:2].isdigit()


@services
def test_ports_are_on_loopback(service):
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@services
def test_what_runs_on_has_a_health_check(service):
    checked = service.get("healthcheck", {}).get("test") or "build" in service
    once = service["restart"] == "no" and service["healthcheck"] == {"disable": True}
    assert once or checked


@services
def test_no_secret_stands_in_the_file(service):
    for name, value in (service.get("environment") or {}).items():
        if any(word in name.upper() for word in ("PASSWORD", "SECRET", "KEY", "CREDENTIALS")):
            assert value.startswith(("/run/secrets/", "${TLS_KEY:-}")), name
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_storage_is_out_of_reach():
    for name in ("postgres", "s3", "s3-bucket"):
        assert SERVICES[name]["networks"] == ["registry"]
    assert COMPOSE["networks"]["registry"] == COMPOSE["networks"]["monitoring"]
    assert COMPOSE["networks"]["registry"] == {"internal": True}


def test_folders_that_are_mounted_are_there_and_read_only():
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    folders = [mount for mount in mounts if isinstance(mount, dict)]
    for mount in folders:
        assert mount["read_only"] is True
        if not mount["source"].startswith("${TLS_FOLDER"):
            source = mount["source"].removeprefix("${MODELS:-").removesuffix("}")
            assert (SERVING / source).is_dir(), source
    named = {mount.split(":")[0] for mount in mounts if isinstance(mount, str)}
    assert named == set(COMPOSE["volumes"])


def test_every_secret_is_made_by_the_script_and_kept_from_git(tmp_path):
    folder = tmp_path / "secrets"
    subprocess.run([SERVING / "secrets.sh", folder], check=True, capture_output=True)
    named = {each["file"].rpartition("/")[2] for each in COMPOSE["secrets"].values()}
    assert {path.name for path in folder.iterdir()} == named
    for place in ("serving/secrets/admin_key", "serving/tls/tls.key"):
        ignored = subprocess.run(["git", "check-ignore", "-q", place], cwd=ROOT, check=False)
        assert ignored.returncode == 0


def test_one_machine_has_a_gpu_or_has_none():
    assert SERVICES["triton"]["profiles"] == ["cpu"]
    assert SERVICES["triton-gpu"]["profiles"] == ["gpu"]
    (device,) = SERVICES["triton-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    for network in ("front", "monitoring"):
        aliases = [
            SERVICES[name]["networks"][network]["aliases"] for name in ("triton", "triton-gpu")
        ]
        assert aliases == [["triton"], ["triton"]]


def test_prometheus_asks_triton_where_it_listens():
    jobs = {job["job_name"]: job for job in read("prometheus/prometheus.yaml")["scrape_configs"]}
    assert jobs["triton"]["static_configs"][0]["targets"] == ["triton:8002"]
    assert jobs["triton-ready"]["static_configs"][0]["targets"] == ["triton:8000"]
    assert jobs["triton-ready"]["metrics_path"] == f"/v2/models/{names.FRONT_DOOR}/ready"
    assert SERVICES["triton"]["environment"]["HTTP_ADDRESS"] == "0.0.0.0"
