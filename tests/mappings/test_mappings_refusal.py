"""A model that made no estimate, as FHIR R4: valid, and without a number in any form."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from fhir.resources import R4B

from mappings.to_fhir import Links, refusal_of
from twin_engine.models.cards import card
from twin_engine.models.registry import get

Json = dict[str, Any]
FORMS = ("risk-assessment", "observation", "document")
LINKS = Links(
    subject="Patient/p",
    sources={1: "Observation/o", 2: "Condition/c"},
    occurrence=datetime(2026, 6, 1, 8, tzinfo=UTC),
    identifier=("urn:twinport:assessment", "k"),
    code_base="https://twinport.example.org",
    software="1.0.0",
    encounter="Encounter/e",
    partial=("Condition",),
    reasons={"missing-input": "A value that it needs is not known."},
)
VALUES = {"prediction", "valueQuantity", "valueCodeableConcept", "component", "interpretation"}


def refused(model: str, **outcome: Any) -> Json:
    """As the models write it."""
    reason = {"reason": "missing-input", "input": "albumin"}
    return {
        "model": {"id": model, "version": "1.0.0", "variant": "", "card": "sha256:00"},
        "at": 5,
        "answer": "refused",
        "inputs": [
            {"input": "creatinine", "value": 1.1, "unit": "mg/dL", "src": [1], "how": "measured"},
            {"input": "diabetes", "value": True, "src": [2], "how": "coded"},
        ],
        "snapshot": "sha256:11",
        "results": [],
        "refusals": [
            {"outcome": "one", "horizonYears": 2} | outcome | reason,
            {"outcome": "one", "horizonYears": 5} | outcome | reason,
        ],
        "missing": ["albumin"],
        "helps": "albumin",
    }


def made(form: str, model: str = "kfre", links: Links = LINKS) -> Json:
    _, found, _ = refusal_of(form, refused(model), card(get(model)), links)
    return found


@pytest.mark.parametrize("model", ["kfre", "fib4"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_valid_and_says_that_there_is_no_estimate(form: str, model: str) -> None:
    device, found, provenance = refusal_of(form, refused(model), card(get(model)), LINKS)
    for resource in (device, found, provenance):
        R4B.get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    assert not VALUES & found.keys()
    assert found["meta"]["tag"][0]["code"] == "no-estimate"
    assert found["meta"]["security"][0]["code"] == "AIAST"
    assert "No estimate was made by" in found["text"]["div"]
    assert found["identifier"] == [{"system": "urn:twinport:assessment", "value": "k"}]
    assert [e["what"]["reference"] for e in provenance["entity"]] == [
        "Observation/o",
        "Condition/c",
    ]


def test_the_type_follows_from_what_the_model_would_have_given() -> None:
    kinds = {(m, f): made(f, m)["resourceType"] for m in ("kfre", "fib4") for f in FORMS}
    assert kinds == {
        ("kfre", "risk-assessment"): "RiskAssessment",
        ("kfre", "observation"): "Observation",
        ("kfre", "document"): "DocumentReference",
        ("fib4", "risk-assessment"): "Observation",
        ("fib4", "observation"): "Observation",
        ("fib4", "document"): "DocumentReference",
    }


def test_a_risk_assessment_names_what_was_looked_at_and_why_it_ended_there() -> None:
    found = made("risk-assessment")
    assert found["status"] == "cancelled"
    assert found["basis"] == [{"reference": "Observation/o"}, {"reference": "Condition/c"}]
    assert found["encounter"] == {"reference": "Encounter/e"}
    notes = [note["text"] for note in found["note"]]
    assert notes[1:] == [
        "One, 2 years; One, 5 years: A value that it needs is not known (Albumin in serum).",
        "What would help most: Albumin in serum.",
        "Not known: Albumin in serum.",
        "Not everything could be read from the server: Condition.",
    ]


def test_an_observation_is_absent_for_want_of_being_performed() -> None:
    found = made("observation")
    assert found["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    assert found["derivedFrom"] == [{"reference": "Observation/o"}]
    # Under our own code: it must not stand among the laboratory's values.
    systems = {coding["system"] for coding in made("observation", "fib4")["code"]["coding"]}
    assert systems == {"https://twinport.example.org/CodeSystem/model"}


def test_a_document_can_be_read_by_people_and_by_machines() -> None:
    text, native = (part["attachment"] for part in made("document")["content"])
    assert base64.b64decode(text["data"]).startswith(b"No estimate was made by ")
    assert json.loads(base64.b64decode(native["data"]))["resourceType"] == "RiskAssessment"


def test_an_assessment_with_a_result_is_no_refusal() -> None:
    partial = refused("kfre") | {"results": [{"outcome": "one", "value": 0.1, "unit": "1"}]}
    assert refusal_of("risk-assessment", partial, card(get("kfre")), LINKS) == []
