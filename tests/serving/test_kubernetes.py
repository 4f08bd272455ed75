"""Manifests, of Kubernetes' own schemas, and names that must be the same in several."""

import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml

from deployed import SERVING, adapter_rule, read

KUBERNETES = SERVING / "kubernetes"
VERSION = "1.37.0"
UNKNOWN = {
    "Kustomization": "kustomize's own; kubectl reads it below",
    "ServiceMonitor": "of the Prometheus operator",
}
"""Kinds that Kubernetes has no schema for, each with the reason why it is left out."""

PATCHES = {"cpu.yaml", "gpu.yaml"}
"""Parts of objects; they are held against the schema after they were put in."""

CHARTS = {"prometheus-adapter.yaml"}
"""Values of a Helm chart, no object."""

FILES = sorted(path for path in KUBERNETES.rglob("*.yaml") if path.name not in PATCHES | CHARTS)
OVERLAYS = ("cpu", "gpu")


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def check(document):
    if document["kind"] not in UNKNOWN:
        kubernetes_validate.validate(document, VERSION, strict=True)
        return 1
    return 0


def base(kind, name="triton"):
    for path in (KUBERNETES / "base").glob("*.yaml"):
        for document in documents(path.read_text()):
            if (document["kind"], document.get("metadata", {}).get("name")) == (kind, name):
                return document
    raise LookupError(kind)


@pytest.fixture(scope="module")
def built():
    """Overlays as kubectl builds them."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, whose kustomize works without a cluster")
    command = ["kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsRootOnly"]
    return {
        name: documents(
            subprocess.run(
                [*command, KUBERNETES / "overlays" / name],
                capture_output=True, text=True, check=True,
            ).stdout
        )
        for name in OVERLAYS
    }  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(KUBERNETES)))
def test_every_object_is_what_kubernetes_takes(path):
    found = documents(path.read_text())
    checked = sum(check(document) for document in found)
    assert checked + sum(document["kind"] in UNKNOWN for document in found) == len(found) > 0


def test_what_is_left_out_is_there():
    kinds = {document["kind"] for path in FILES for document in documents(path.read_text())}
    assert set(UNKNOWN) <= kinds


def test_a_misspelled_field_is_found():
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"prots": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="prots"):
        check(wrong)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_built_object_is_what_kubernetes_takes(built, overlay):
    assert sum(check(document) for document in built[overlay]) == len(built[overlay]) == 7


@pytest.mark.parametrize(("overlay", "gpus"), [("cpu", None), ("gpu", "1")])
def test_only_one_overlay_asks_for_a_gpu(built, overlay, gpus):
    (deployment,) = [each for each in built[overlay] if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert limits.get("nvidia.com/gpu") == gpus
    assert limits["memory"] == "16Gi"
    assert deployment["metadata"]["namespace"] == "dyntransnet"
    assert not container["image"].endswith(":latest")


def test_every_resource_is_listed():
    for folder in ("base", "monitoring"):
        files = {path.name for path in (KUBERNETES / folder).glob("*.yaml")}
        listed = set(read(f"kubernetes/{folder}/kustomization.yaml")["resources"])
        assert files - listed - CHARTS == {"kustomization.yaml"}


def test_selectors_find_the_pods():
    labels = base("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert base("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert base("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    for name in ("triton", "triton-pods"):
        assert base("Service", name)["spec"]["selector"] == labels
    monitor = read("kubernetes/monitoring/servicemonitor.yaml")["spec"]
    assert base("Service")["metadata"]["labels"] == monitor["selector"]["matchLabels"] == labels
    ports = {port["name"] for port in base("Service")["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports


def test_the_autoscaler_asks_for_what_the_adapter_gives():
    spec = base("HorizontalPodAutoscaler")["spec"]
    (metric,) = spec["metrics"]
    assert metric["pods"]["metric"]["name"] == adapter_rule()["name"]["as"]
    assert spec["scaleTargetRef"]["name"] == base("Deployment")["metadata"]["name"]
    assert spec["minReplicas"] > base("PodDisruptionBudget")["spec"]["minAvailable"]


def test_a_pod_can_write_nowhere_but_in_memory_and_scratch():
    spec = base("Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    places = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert places["/dev/shm"]["emptyDir"]["medium"] == "Memory"
    assert [path for path in places if "emptyDir" in places[path]] == ["/dev/shm", "/tmp"]


def test_a_pod_has_time_to_answer_before_it_ends():
    spec = base("Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= int(variables["EXIT_TIMEOUT_S"]) + before


def test_the_jobs_have_the_names_that_the_rules_ask_for():
    endpoints = read("kubernetes/monitoring/servicemonitor.yaml")["spec"]["endpoints"]
    here = {
        endpoint["relabelings"][0]["replacement"]: endpoint.get("path", "/metrics")
        for endpoint in endpoints
    }
    jobs = read("prometheus/prometheus.yaml")["scrape_configs"]
    there = {job["job_name"]: job.get("metrics_path", "/metrics") for job in jobs}
    assert here == {name: path for name, path in there.items() if name != "prometheus"}
