"""From a registry to a running server and back, by function, command and MLflow."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.deployments import get_deploy_client
from mlflow.deployments.interface import plugin_store
from mlflow.exceptions import MlflowException
from swapping import KEY, PARAMS, save_coarse, small_golden_scan

from builders import affine_of, blobs
from dyntransnet import deployments
from dyntransnet import repository as names
from dyntransnet.errors import ModelError, QualityGateError
from dyntransnet.imaging.scan import Mask, Scan, write_mask, write_scan
from dyntransnet.rollout import live
from dyntransnet.rollout.control import Controller
from dyntransnet.runtimes import golden
from dyntransnet.service.versions import read_traffic
from dyntransnet.tracking import connect

pytestmark = pytest.mark.triton

ROOT = Path(__file__).parents[2]
SHAPE = (30, 34, 27)
SCAN = Scan("a", (60 * blobs(SHAPE, seed=3)).astype(np.int16), affine_of(SHAPE, (2, 2.5, 3)))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Two models as a registry keeps them."""
    root = tmp_path_factory.mktemp("models")
    with small_golden_scan():
        for name, low in (("one", 0.1), ("two", -0.1)):
            golden.write_golden(save_coarse(root / name, low), root / name)
    return root


@pytest.fixture
def registry(workplace, models) -> MlflowClient:
    """Two versions of a model; the first is champion."""
    client = connect()
    client.create_registered_model("dyntransnet-liver")
    for name in ("one", "two"):
        folder = shutil.copytree(models / name, workplace / name)
        client.create_model_version("dyntransnet-liver", folder.as_uri())
    client.set_registered_model_alias("dyntransnet-liver", "champion", "1")
    return client


def served(client: MlflowClient, version: int) -> tuple[str | None, str | None]:
    tags = client.get_model_version("dyntransnet-liver", str(version)).tags
    return tags.get("served_on"), tags.get("served_version")


def publish(server, address, **changes) -> None:
    given = {"alias": "champion", "min_dice": 1.0} | changes
    live.publish(
        "dyntransnet-liver", given["alias"], repository=server.repository, address=address,
        params=PARAMS, min_dice=given["min_dice"],
    )  # fmt: skip


def folder_of(server) -> str:
    return str(read_traffic(server.repository / names.NETWORK).version)


def test_the_registry_says_what_is_served_where(server, address, registry, capsys):
    publish(server, address)
    assert served(registry, 1) == (server.url, folder_of(server))
    registry.set_registered_model_alias("dyntransnet-liver", "next", "2")
    publish(server, address, alias="next")
    assert served(registry, 1) == (None, None)
    assert served(registry, 2) == (server.url, folder_of(server))
    live.rollback(server.repository, address)
    assert served(registry, 1) == (server.url, folder_of(server))
    assert served(registry, 2) == (None, None)
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == f"rollback: dyntransnet-liver version 1 has the traffic of {server.url}"


def test_a_version_that_answers_otherwise_than_registered_does_not_serve(
    server, address, registry, workplace
):
    kept = golden.read_golden(workplace / "one")
    other = np.where(kept.mask.labels == 2, 0, kept.mask.labels).astype(np.uint8)
    write_mask(Mask(other, kept.mask.affine), workplace / "one/golden/mask.nii.gz")
    before = folder_of(server)
    rule = "golden scan's tumor Dice must be at least 1, got"
    with pytest.raises(QualityGateError, match=rule):
        publish(server, address)
    assert folder_of(server) == before
    assert served(registry, 1) == (None, None)


def test_an_alias_that_nobody_holds_is_named(server, address, registry):
    with pytest.raises(ModelError, match="a version must hold the alias next, got none"):
        publish(server, address, alias="next")


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dyntransnet.cli", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def project(workplace) -> Path:
    """A params.yaml of this server's kind, and a file with its key."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["publish"] = PARAMS.model_dump()
    (workplace / "params.yaml").write_text(yaml.safe_dump(values))
    (workplace / "key").write_text(f"{KEY}\n")
    return workplace


def test_commands_swap_and_go_back(server, address, registry, project):
    before = folder_of(server)
    where = ("--to", server.url, "--out", server.repository, "--control-key-file", "key")
    swapped = run("publish", "--alias", "champion", *where, cwd=project)
    assert swapped.returncode == 0, swapped.stderr
    assert folder_of(server) != before
    back = run("rollback", *where, cwd=project)
    assert back.returncode == 0, back.stderr
    assert folder_of(server) == before


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["publish"], "publish: must be given what register wrote, or --to, got neither"),
        (["rollback", "--control-key-file", "none"], "none: must hold a control key, got "),
        (["serve", "--tls-cert", "a.pem"], "--tls-cert and --tls-key must be given together"),
    ],
)
def test_commands_refuse_in_one_line(project, arguments, rule):
    (project / "model_repository").mkdir()
    finished = run(*arguments, cwd=project)
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"error: {rule}")
    assert finished.stderr.count("\n") == 1


@pytest.fixture
def plugin(server, project, monkeypatch):
    monkeypatch.setitem(plugin_store.registry, "triton", deployments)
    where = f"repository={server.repository}&control_key_file=key"
    return get_deploy_client(f"triton:/{server.url}?{where}")


EXACTLY = {"min_dice": "1.0"}


def test_mlflow_finds_the_plugin_under_its_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["mlflow.deployments"] == {"triton": deployments.__name__}
    assert {"target_help", "run_local", "TritonDeploymentClient"} <= set(dir(deployments))
    assert "control_key_file" in deployments.target_help()


def test_mlflow_deploys_predicts_and_takes_down(registry, plugin, address):
    made = plugin.create_deployment(
        "dyntransnet", "models:/dyntransnet-liver@champion", config=EXACTLY
    )
    assert (made["model"], made["version"], made["ready"]) == ("dyntransnet-liver", "1", True)
    plugin.update_deployment("dyntransnet", "models:/dyntransnet-liver/2", config=EXACTLY)
    assert plugin.get_deployment("dyntransnet")["version"] == "2"
    write_scan(SCAN, Path("a.nii.gz"))
    by_path = plugin.predict("dyntransnet", {"scan": "a.nii.gz"})
    by_array = plugin.predict("dyntransnet", {"voxels": SCAN.voxels, "affine": SCAN.affine})
    np.testing.assert_array_equal(by_path["mask"], by_array["mask"])
    assert by_path["mask"].any()
    plugin.delete_deployment("dyntransnet")
    assert not plugin.get_deployment("dyntransnet")["ready"]
    assert [one["version"] for one in plugin.list_deployments()] == ["2"]
    assert served(registry, 2) == (None, None)
    with Controller(address) as control:
        control.load(names.NETWORK)


@pytest.mark.parametrize(
    ("name", "uri", "rule"),
    [
        ("other", "models:/a/1", "deployment must be dyntransnet, got other"),
        ("dyntransnet", "runs:/a", "must be models:/NAME@ALIAS or models:/NAME/VERSION, got runs"),
        ("dyntransnet", "models:/lung@best", "lung: a version must hold the alias best, got none"),
    ],
)
def test_mlflow_is_told_what_is_wrong(registry, plugin, name, uri, rule):
    with pytest.raises(MlflowException, match=rule):
        plugin.create_deployment(name, uri, config=EXACTLY)
