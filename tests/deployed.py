"""The files under serving/, read, and what they are held against."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import promql_parser
import yaml

ROOT = Path(__file__).parents[1]
SERVING = ROOT / "serving"
SCHEMAS = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor"
OWN = "dyntransnet_"
"""Prefix of what the service itself counts."""


def read(path: Path | str) -> Any:
    return yaml.safe_load((SERVING / path).read_text())


def complaints(schema: str, document: Any) -> list[str]:
    """What a schema that comes with check-jsonschema says against a document."""
    rules = json.loads((SCHEMAS / f"{schema}.json").read_text())
    check = jsonschema.validators.validator_for(rules)(rules)
    return [f"{each.json_path}: {each.message}" for each in check.iter_errors(document)]


def alerts() -> list[dict[str, Any]]:
    return [rule for group in read("prometheus/rules.yaml")["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((SERVING / "grafana/dashboards/dyntransnet.json").read_text())
    return dashboard["panels"]


def adapter_rule() -> dict[str, Any]:
    (rule,) = read("kubernetes/monitoring/prometheus-adapter.yaml")["rules"]["custom"]
    return rule


def expressions() -> dict[str, str]:
    """All PromQL there is, by where it stands, with what templates put in put in."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in alerts()}
    for panel in panels():
        for target in panel.get("targets", []):
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    rule = adapter_rule()
    found["adapter, series"] = rule["seriesQuery"]
    series = re.split(r"[{]", rule["seriesQuery"])[0]
    filled = {"Series": series, "LabelMatchers": 'namespace="n",pod=~"a|b"', "GroupBy": "pod"}
    query = rule["metricsQuery"]
    for name, value in filled.items():
        query = query.replace(f"<<.{name}>>", value)
    found["adapter, metric"] = query
    return {where: text.replace("$__rate_interval", "5m") for where, text in found.items()}


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    """Every choice of series in an expression."""
    pending = [promql_parser.parse(expression)]
    while pending:
        node = pending.pop()
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            yield node
        pending += [getattr(node, part) for part in ("lhs", "rhs", "expr") if hasattr(node, part)]
        pending += getattr(node, "args", None) or []


def metric_names() -> dict[str, set[str]]:
    """Names of metrics by the place that asks for them."""
    return {
        where: {selector.name for selector in selectors(text)}
        for where, text in expressions().items()
    }
