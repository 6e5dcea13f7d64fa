"""Where a server takes no RiskAssessment: each rung of the ladder on a server that stops there."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from fhir.resources import R4B
from writeback_scene import ASSESSMENT, CARD, LINKS

from mappings.to_fhir import Links, form_of, with_card
from service.fhir.capability import Capability, TypeCapability
from service.fhir.ladder import Rung, Why, choices, on_the_facade, row_key, steps_down
from service.fhir.outbox import OutboxState
from service.fhir.writeback import WriteResult

Json = dict[str, Any]
RISK, QUANTITY = frozenset({"RiskAssessment"}), frozenset({"Observation"})


def takes(*kinds: str) -> Capability:
    """A server that lists these types as creatable and nothing else."""
    create = TypeCapability(interactions=frozenset({"create", "read", "search-type"}))
    return Capability(stated=True, types=dict.fromkeys(kinds, create))


ALL = ("RiskAssessment", "Observation", "DocumentReference")


@pytest.mark.parametrize(
    ("kinds", "native", "rung", "why"),
    [
        (ALL, RISK, Rung.RISK_ASSESSMENT, Why.FIRST_CHOICE),
        (ALL[1:], RISK, Rung.OBSERVATION, Why.NOT_LISTED),
        (ALL[2:], RISK, Rung.DOCUMENT, Why.NOT_LISTED),
        (("Patient",), RISK, Rung.FACADE, Why.NOT_LISTED),
        (ALL[1:], QUANTITY, Rung.RISK_ASSESSMENT, Why.FIRST_CHOICE),
        (ALL[2:], QUANTITY, Rung.DOCUMENT, Why.NOT_LISTED),
    ],
)
def test_the_statement_says_where_to_begin(
    kinds: Sequence[str], native: frozenset[str], rung: Rung, why: Why
) -> None:
    assert next(choices(takes(*kinds), native)) == (rung, why)


def test_a_server_without_a_statement_is_tried_from_the_top_down() -> None:
    tried = list(choices(Capability(), RISK))
    assert [choice.rung for choice in tried] == list(Rung)
    assert [choice.why for choice in tried] == [Why.FIRST_CHOICE, *[Why.REFUSED] * 3]


def test_the_configuration_can_start_lower() -> None:
    assert next(choices(takes(*ALL), RISK, Rung.DOCUMENT)) == (Rung.DOCUMENT, Why.CONFIGURED)
    assert list(choices(takes(*ALL), RISK, Rung.FACADE)) == [(Rung.FACADE, Why.CONFIGURED)]


@pytest.mark.parametrize(
    ("detail", "down"),
    [("not-supported", True), ("not-found", True), ("forbidden", False), ("unprocessable", False)],
)
def test_only_a_type_that_is_not_taken_leads_down(detail: str, down: bool) -> None:
    assert steps_down(WriteResult(OutboxState.FAILED, detail=detail)) is down


def test_the_last_rung_needs_nothing_written() -> None:
    assert (on_the_facade().verified, on_the_facade().written) == (True, [])


def test_each_form_has_its_own_place_in_the_outbox() -> None:
    assert len({row_key("k", rung) for rung in Rung}) == len(Rung)
    assert row_key("k", Rung.RISK_ASSESSMENT) == "k"


# -- forms -------------------------------------------------------------------------------------


def made(form: str, kind: str, links: Links = LINKS) -> Json:
    (found,) = [r for r in form_of(form, ASSESSMENT, CARD, links) if r["resourceType"] == kind]
    return found


@pytest.mark.parametrize("form", ["risk-assessment", "observation", "document"])
def test_every_form_is_valid_fhir_with_one_identifier(form: str) -> None:
    resources = form_of(form, ASSESSMENT, CARD, LINKS)
    for resource in resources:
        R4B.get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    assert [r["resourceType"] for r in resources][0::2] == ["Device", "Provenance"]
    assert resources[1]["identifier"][0]["value"] == LINKS.identifier[1]
    assert resources[1]["meta"]["security"][0]["code"] == "AIAST"


def test_an_observation_holds_each_probability_in_percent() -> None:
    observation = made("observation", "Observation")
    assert observation["status"] == "preliminary"
    (component,) = observation["component"]
    assert component["valueQuantity"] == {
        "value": 14.2,
        "unit": "%",
        "system": "http://unitsofmeasure.org",
        "code": "%",
    }
    assert "10 years" in component["code"]["text"]
    assert observation["derivedFrom"] == [{"reference": "Observation/bp-1"}]
    assert "performer" not in observation  # R4: a Device can't perform an Observation


def test_a_document_is_for_people_and_for_machines() -> None:
    document = made("document", "DocumentReference")
    text, native = (part["attachment"] for part in document["content"])
    readable = base64.b64decode(text["data"]).decode()
    assert "14.2 %" in readable
    assert "not reviewed by a clinician" in readable
    embedded = json.loads(base64.b64decode(native["data"]))
    assert embedded["resourceType"] == "RiskAssessment"
    assert embedded["prediction"][0]["probabilityDecimal"] == 14.2
    assert document["docStatus"] == "preliminary"
    assert document["context"]["related"] == [
        {"reference": "Observation/bp-1"},
        {"reference": "Condition/htn"},
    ]


def test_a_refused_assessment_has_no_form() -> None:
    refused: Mapping[str, Any] = {**ASSESSMENT, "results": []}
    assert [form_of(form, refused, CARD, LINKS) for form in ("observation", "document")] == [[], []]


def test_the_card_goes_beside_the_results() -> None:
    resources = with_card(form_of("observation", ASSESSMENT, CARD, LINKS), ASSESSMENT, CARD, LINKS)
    for resource in resources:
        R4B.get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    document = resources[0]
    assert document["type"]["coding"][0]["code"] == "AIModelCard"
    text = base64.b64decode(document["content"][0]["attachment"]["data"]).decode()
    assert "## Intended use" in text
    assert "subject" not in document
    url = f"urn:uuid:{document['id']}"
    device = next(r for r in resources if r["resourceType"] == "Device")
    assert device["extension"][-1]["valueReference"] == {"reference": url}
    origin = resources[-1]
    assert {"role": "derivation", "what": {"reference": url}} in origin["entity"]
