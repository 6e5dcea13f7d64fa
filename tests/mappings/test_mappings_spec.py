"""The mapping rules, case by case: see `spec/README.md`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mappings.from_fhir import map_records
from mappings.vocabulary import rules
from mappings.vocabulary.facts import Mapped

FILES = sorted((Path(__file__).parent / "spec").glob("*.yaml"))
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in FILES
    for case in yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)  # a tenth of the time
]


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def fields(fact: Any, wanted: Any) -> Any:
    """The fields of a fact that the case writes down; of facts inside a fact, too."""
    if isinstance(wanted, dict):
        return {name: fields(getattr(fact, name), inner) for name, inner in wanted.items()}
    if isinstance(wanted, list) and any(isinstance(inner, dict) for inner in wanted):
        padded = wanted + [{}] * len(fact)
        return [fields(inner, padded[i]) for i, inner in enumerate(fact)]
    return plain(fact)


def shown(mapped: Mapped, expected: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for kind, facts in mapped._asdict().items():
        wanted = expected.get(kind)
        if kind == "subject":
            if facts is not None:
                out[kind] = fields(facts, wanted or {})
        elif facts or wanted:
            padded = list(wanted or []) + [{}] * len(facts)
            out[kind] = [fields(fact, padded[i]) for i, fact in enumerate(facts)]
    return out


@pytest.mark.parametrize("case", CASES)
def test_records_map_to_facts(case: dict[str, Any]) -> None:
    mapped = map_records(case["records"], case.get("now"))
    assert shown(mapped, case["facts"]) == case["facts"]


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_the_records_does_not_matter(case: dict[str, Any]) -> None:
    now = case.get("now")
    assert map_records(reversed(case["records"]), now) == map_records(case["records"], now)


def test_every_rule_that_sets_a_value_aside_has_a_case() -> None:
    asides = (case.values[0]["facts"].get("set_aside", ()) for case in CASES)
    used = {fact["rule"] for facts in asides for fact in facts}
    assert used == {rule.id for rule in rules().values() if rule.kind == "set-aside"}
