"""Codings that leave the house, in one place: the AI transparency guide may still change."""

from typing import Any, Protocol

from mappings.to_fhir.links import Links

Coding = dict[str, Any]
Concept = dict[str, Any]

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"

# HL7 AI Transparency on FHIR 1.0.0: http://hl7.org/fhir/uv/aitransparency
_AI = "http://hl7.org/fhir/uv/aitransparency"
AI_KIND = f"{_AI}/StructureDefinition/aitransparency.AIKind"
AI_TYPES = f"{_AI}/CodeSystem/AIdeviceTypeCS"

MODEL_CARD = f"{_AI}/StructureDefinition/aitransparency.modelCardDescription"
_AI_INPUTS = f"{_AI}/CodeSystem/AIinputsCS"
# Without a display: the guide fixes the first, and gives the second one of its own.
AI_CARD: Coding = {"system": _AI_INPUTS, "code": "AIModelCard"}
AI_CARD_MARKDOWN: Coding = {
    "system": _AI_INPUTS,
    "code": "AIModelCardMarkdownFormat",
    "display": "Markdown Format",
}

AIAST: Coding = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
# The guide fixes this value: a display or a text would make it invalid.
AI_DEVICE: Concept = {"coding": [{"system": AI_TYPES, "code": "Artificial-Intelligence"}]}

AUTHOR: Concept = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
            "code": "author",
            "display": "Author",
        }
    ]
}
CREATE: Concept = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
            "code": "CREATE",
            "display": "create",
        }
    ]
}
VERIFIER: Concept = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
            "code": "verifier",
            "display": "Verifier",
        }
    ]
}
UPDATE: Concept = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
            "code": "UPDATE",
            "display": "revise",
        }
    ]
}
# As HL7 Genomics Reporting names the medicine of a therapeutic implication.
MEDICATION_ASSESSED: Concept = {
    "coding": [{"system": LOINC, "code": "51963-7", "display": "Medication assessed"}]
}
NOT_PERFORMED: Concept = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
            "code": "not-performed",
            "display": "Not Performed",
        }
    ]
}
NOT_APPLICABLE: Concept = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
            "code": "not-applicable",
            "display": "Not Applicable",
        }
    ]
}
_CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"


def category(kind: str) -> Concept:
    """A score is a survey result, any other quantity a laboratory one."""
    code = "survey" if kind == "score" else "laboratory"
    return {"coding": [{"system": _CATEGORIES, "code": code, "display": code.capitalize()}]}


class Based(Protocol):
    """What knows under which address our code systems are named."""

    @property
    def code_base(self) -> str: ...


def own_system(place: Based, name: str) -> str:
    """The URI of one of our code systems, under a web address or under a URN."""
    joint = ":" if place.code_base.startswith("urn:") else "/"
    return joint.join((place.code_base, "CodeSystem", name))


def own(links: Links, name: str, code: str, display: str = "", version: str = "") -> Coding:
    """A coding of our own code system `name`, with the optional parts that are known."""
    coding = {"system": own_system(links, name), "version": version, "code": code}
    return {key: value for key, value in (coding | {"display": display}).items() if value}


def labelled() -> dict[str, Any]:
    """`meta` of everything that a machine asserted."""
    return {"security": [dict(AIAST)]}
