"""What a guideline says, as FHIR: a code with its sentence and medicine, never a number."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fhir.resources import R4B

from mappings.to_fhir import Links, assessment_resources, form_of
from service.fhir.ladder import Rung
from twin_engine.models.cards import card
from twin_engine.models.registry import get

LINKS = Links(
    subject="Patient/1",
    sources={9: "Observation/gene"},
    occurrence=datetime(2026, 5, 4, 12, tzinfo=UTC),
    identifier=("urn:test", "abc"),
    code_base="https://twinport.example.org",
    software="0.1.0",
)
ANSWER: dict[str, Any] = {
    "model": {"id": "pgx", "version": "1.0.0", "variant": "published", "card": "sha256:00"},
    "at": 812,
    "answer": "partial",
    "inputs": [
        {"input": "cyp2c19", "value": "poor-metabolizer", "t": 500, "src": [9], "how": "derived"}
    ],
    "snapshot": "sha256:11",
    "results": [
        {
            "outcome": outcome, "value": 1.0, "unit": "1", "intervalRefused": "nothing-measured",
            "category": {"scheme": f"cpic-{outcome}", "code": "avoid"},
        }
        for outcome in ("clopidogrel-cardiovascular", "clopidogrel-neurovascular")
    ],
    "refusals": [{"outcome": "simvastatin", "reason": "missing-input", "input": "slco1b1"}],
    "missing": ["dpyd", "slco1b1"],
}  # fmt: skip


def observations(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in resources if one["resourceType"] == "Observation"]


def test_each_recommendation_is_one_preliminary_coded_observation() -> None:
    made = assessment_resources(ANSWER, card(get("pgx")), LINKS)
    first, second = observations(made)
    R4B.get_fhir_model_class("Observation").model_validate(first)
    assert first["id"] != second["id"]
    assert first["status"] == "preliminary"
    assert "valueQuantity" not in first
    said = first["valueCodeableConcept"]
    assert said["text"].startswith("Avoid clopidogrel if possible: another P2Y12 inhibitor")
    assert "Strength: moderate. CPIC guideline for CYP2C19" in said["text"]
    assert said["coding"][0]["code"] == "avoid"
    assert first["component"][0]["code"]["coding"][0]["code"] == "51963-7"
    medicine = first["component"][0]["valueCodeableConcept"]["coding"][0]
    assert (medicine["system"], medicine["code"]) == (
        "http://www.nlm.nih.gov/research/umls/rxnorm", "32968",
    )  # fmt: skip
    assert first["derivedFrom"] == [{"reference": "Observation/gene"}]


@pytest.mark.parametrize("rung", list(Rung))
def test_every_rung_of_the_ladder_carries_the_sentence(rung: Rung) -> None:
    made = form_of(rung, ANSWER, card(get("pgx")), LINKS)
    assert made
    for one in made:
        R4B.get_fhir_model_class(one["resourceType"]).model_validate(one)
