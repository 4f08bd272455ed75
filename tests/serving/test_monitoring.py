"""Rules, dashboard and adapter: PromQL that Prometheus reads, and drawn where one looks."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from deployed import OWN, SERVING, alerts, expressions, metric_names, panels, read, selectors
from dyntransnet import repository as names

ROOT = SERVING.parent
EXPRESSIONS = expressions()


def documented():
    """Own metrics as serving/README.md has them."""
    text = (SERVING / "README.md").read_text()
    return set(re.findall(rf"^\| `({OWN}\w+)`", text, re.MULTILINE))


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_expression_is_promql(where):
    assert list(selectors(EXPRESSIONS[where]))


def test_a_broken_expression_is_refused():
    with pytest.raises(ValueError, match="unknown function"):
        promql_parser.parse("rat(up[5m])")


def test_own_metrics_are_those_of_the_readme():
    asked = {name for found in metric_names().values() for name in found if name.startswith(OWN)}
    assert asked == documented()


def test_rules_on_own_metrics_stand_apart():
    groups = {group["name"]: group["rules"] for group in read("prometheus/rules.yaml")["groups"]}
    for group, rules in groups.items():
        for rule in rules:
            own = any(name.startswith(OWN) for name in metric_names()[f"alert {rule['alert']}"])
            assert own == (group == "dyntransnet"), rule["alert"]


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    for rule in alerts():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())


def test_a_warning_comes_at_half_of_the_queue():
    config = ROOT / "model_repository" / names.FRONT_DOOR / names.CONFIG_FILE
    parsed = text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())
    limit = parsed.dynamic_batching.default_queue_policy.max_queue_size
    (rule,) = [rule for rule in alerts() if rule["alert"] == "QueueGrowing"]
    assert rule["expr"].endswith(f">= {limit // 2}")


def test_panels_fill_the_dashboard_without_overlap():
    taken = set()
    for panel in panels():
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, panel["title"]
                taken.add((x, y))
    assert {x for x, _ in taken} == set(range(24))
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_panel_has_a_unit_and_asks_the_provisioned_source():
    (source,) = read("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    for panel in panels():
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"]
            asked = [target["datasource"] for target in panel["targets"]] + [panel["datasource"]]
            assert all(each == {"type": source["type"], "uid": source["uid"]} for each in asked)


def test_grafana_finds_the_dashboard_where_compose_puts_it():
    (provider,) = read("grafana/provisioning/dashboards/dyntransnet.yaml")["providers"]
    mounts = read("compose.yaml")["services"]["grafana"]["volumes"]
    (source,) = [
        mount["source"]
        for mount in mounts
        if isinstance(mount, dict) and mount["target"] == provider["options"]["path"]
    ]
    json.loads((SERVING / source / "dyntransnet.json").read_text())


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_alerts_fire_when_they_should(tmp_path):
    rules = Path(__file__).with_name("alerts.yaml").read_text()
    (tmp_path / "rules.yaml").write_text((SERVING / "prometheus/rules.yaml").read_text())
    (tmp_path / "alerts.yaml").write_text(rules)
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts.yaml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
