"""The compose profile `monitoring` and its dashboard, against the metrics that there are."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from segsvc.observability import metrics
from tests import ROOT

GRAFANA = ROOT / "monitoring" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "segsvc.json").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
LABELS = {"method", "route", "status", "kind", "le"}


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def names() -> Iterator[str]:
    """Yield the names of the series that the service has."""
    for family in parse(metrics.exposition().decode()):
        suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
        yield from (family.name + suffix for suffix in suffixes.get(family.type, ("",)))


def test_dashboard_names_what_exists() -> None:
    """Every series on the dashboard exists, every metric is on it, and its labels exist too."""
    text = "\n".join(expressions())
    ours = {name for name in names() if name.startswith("segsvc_")}
    shown = set(re.findall(r"\bsegsvc_\w+", text))
    assert shown <= ours
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in ours}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in shown} == families
    grouped = {label for by in re.findall(r"by \(([^)]*)\)", text) for label in by.split(", ")}
    chosen = set(re.findall(r"[{,](\w+)=", text))
    assert grouped | chosen <= LABELS


def test_panels_do_not_overlap() -> None:
    """The panels have numbers of their own, and places of their own in 24 columns."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, at["y"]) for x in range(at["x"], at["x"] + at["w"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_profile_is_whole() -> None:
    """The profile is optional, its files are there, and each part is told where the next one is."""
    services: dict[str, Any] = COMPOSE["services"]
    optional = {name for name, service in services.items() if "profiles" in service}
    assert optional == {"prometheus", "grafana"}
    for name in optional:
        assert services[name]["profiles"] == ["monitoring"]
        for volume in services[name]["volumes"]:
            source = volume.partition(":")[0]
            assert (
                (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            )
    (job,) = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text())["scrape_configs"]
    ((target,),) = [config["targets"] for config in job["static_configs"]]
    assert target.partition(":")[0] in services
    (source,) = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    (provider,) = yaml.safe_load((GRAFANA / "dashboards" / "segsvc.yml").read_text())["providers"]
    mounted = "/etc/grafana/provisioning"
    assert provider["options"]["path"] == f"{mounted}/dashboards"
    assert services["grafana"]["volumes"] == [f"./monitoring/grafana:{mounted}:ro"]
