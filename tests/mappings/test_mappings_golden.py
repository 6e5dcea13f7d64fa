"""Whole resources of every type: what became of them last time, to the last field."""

import json
from collections import Counter

import mappings_page
import orjson
import pytest
from mappings_golden import DAY, FOLDER, TYPES, golden
from mappings_path import mapped
from support.twins import complete, everything, twin

from mappings.from_fhir import MAPPERS
from mappings.vocabulary import type_rules
from privacy.elements import IN_SCOPE
from service.fhir.bundle import read_bundle
from service.fhir.grouping import SCOPE
from service.sandbox.population import generate
from twin_engine.document import dump
from twin_engine.document.schema import schema


@pytest.mark.parametrize("kind", TYPES)
def test_a_whole_resource_gives_the_facts_it_gave(kind: str) -> None:
    """A type without a golden file fails here."""
    kept = json.loads((FOLDER / f"{kind}.json").read_text("utf-8"))
    assert json.loads(json.dumps(golden(kept["resources"]))) == kept


def test_the_page_of_rules_is_current() -> None:
    assert mappings_page.PAGE.read_text("utf-8") == mappings_page.render()


def test_no_type_in_scope_is_silent() -> None:
    """A type that a policy judges has a sentence, and a rule with cases or a declared nothing."""
    told = {kind for kind, rule in type_rules().items() if rule.becomes}
    assert set(type_rules()) == IN_SCOPE
    assert told == MAPPERS.keys() | {"Medication"} == SCOPE
    assert told - {"Medication"} == set(TYPES)
    records = [r for listed in mappings_page.cases().values() for c in listed for r in c["records"]]
    assert {record["resourceType"] for record in records} == IN_SCOPE
    parts = {part for rule in type_rules().values() for part in rule.becomes}
    assert parts <= schema()["properties"].keys()


def test_every_resource_of_every_type_is_accounted_for() -> None:
    """One of each, and one of a type out of scope: counted in a slice, or as not read."""
    about = {"subject": {"reference": "Patient/p1"}, "patient": {"reference": "Patient/p1"}}
    kinds = [*sorted(IN_SCOPE - {"Patient", "Medication"}), "Claim"]
    resources = [{"resourceType": "Patient", "id": "p1"}]
    resources += [{"resourceType": kind, "id": "x", **about} for kind in kinds]
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": resource} for resource in resources],
    }
    (record,) = read_bundle(orjson.dumps(bundle))
    seen = Counter({s["type"]: s["matches"] for s in record.completeness["slices"]})
    declared = sorted(kind for kind, rule in type_rules().items() if not rule.becomes)
    assert [kind for kind in kinds if seen[kind] != 1] == [*declared, "Claim"]
    made = twin(everything(), complete() | {"notRead": record.not_read})
    assert made["completeness"]["notRead"] == dict.fromkeys([*declared, "other"], 1)


@pytest.mark.slow
def test_the_facts_of_a_person_are_small_beside_the_record() -> None:
    """At most 8 % of the compact source; answers of models come on top (see docs/explain.md)."""
    for someone in generate(DAY)[:8]:
        person, *others = sorted(someone.resources, key=lambda r: r["resourceType"] != "Patient")
        source = orjson.dumps({"entry": [{"resource": one} for one in someone.resources]})
        made = twin(mapped(*others, person=person))
        assert len(dump(made)) < 0.08 * len(source)
