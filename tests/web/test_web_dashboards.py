"""What the dashboard and the alerts ask for is there: names, labels and words as really exposed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.pipeline.meters import STAGES
from service.web.meters import LEVELS, Meters
from service.web.ports import Failure

OPS = Path(__file__).parents[2] / "docs" / "ops"
# Known to Prometheus itself.
OF_PROMETHEUS = {"up": {"job", "instance"}}
OUTCOMES = {failure.value for failure in Failure} | {"done", "stopped"}
WORDS = {"outcome": OUTCOMES, "stage": set(STAGES), "full": {"together", "each", "threads"}}


class Query(NamedTuple):
    where: str
    text: str


def dashboard() -> Any:
    return json.loads((OPS / "grafana.json").read_text())


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[Query]:
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield Query(panel["title"], target["expr"])
    for rule in rules():
        yield Query(rule["alert"], rule["expr"])


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """Every sample of a service that has done one of everything, and its labels."""
    meters = Meters()
    meters.begun()
    meters.answered("GET", "/x", 200, 0.1)
    meters.runs.shed("each")
    meters.runs.ended("done")
    meters.runs.waited(0.1)
    meters.runs.queued(None)
    meters.runs.written({"written": 1})
    with meters.runs.run() as stages:
        stages.begin("pull")
    found: dict[str, set[str]] = {}
    text = meters.text(dict.fromkeys(LEVELS, 0.0)).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.where)
def test_a_query_names_what_there_is(query: Query, exposed: dict[str, set[str]]) -> None:
    text = query.text
    assert text.count("(") == text.count(")")
    known = exposed | OF_PROMETHEUS
    names = re.findall(r"\b(twinport_[a-z_]+|up)\b", text)
    assert names
    assert set(names) <= known.keys()
    labels = set().union(*(known[name] for name in names))
    grouped = re.findall(r"\b(?:by|ignoring|without) \(([^)]*)\)", text)
    used = {label.strip() for group in grouped for label in group.split(",")}
    used |= {label for inside in re.findall(r"{([^}]*)}", text) for label, *_ in matchers(inside)}
    assert used <= labels


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.where)
def test_the_words_asked_for_are_said(query: Query) -> None:
    for inside in re.findall(r"{([^}]*)}", query.text):
        for label, operator, value in matchers(inside):
            given = value.split("|") if "~" in operator else [value]
            assert set(given) <= WORDS.get(label, set(given))


def matchers(inside: str) -> list[tuple[str, str, str]]:
    return re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', inside)


def test_every_number_that_is_exposed_is_on_the_dashboard(exposed: dict[str, set[str]]) -> None:
    shown = " ".join(target["expr"] for p in dashboard()["panels"] for target in p["targets"])
    families = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in exposed}
    assert {name for name in families if name not in shown} == set()


def test_an_alert_says_whom_it_is_for_and_what_to_do_first() -> None:
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found) >= 8
    for rule in found:
        assert rule["labels"].keys() == {"severity", "team"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert all(rule["annotations"][name].endswith(".") for name in ("summary", "first"))
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))


def test_what_identity_stops_is_for_the_privacy_officer_at_once() -> None:
    (stopped,) = [rule for rule in rules() if "gate-blocked" in rule["expr"]]
    assert stopped["labels"] == {"severity": "page", "team": "privacy"}
    assert "for" not in stopped


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    panels = dashboard()["panels"]
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}
    assert len(places) == len(panels)
    assert all(p["title"] and p["targets"] for p in panels)
