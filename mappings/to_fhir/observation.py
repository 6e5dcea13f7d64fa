"""Quantities and scores → one Observation each: a value that an EHR can trend and search."""

from collections.abc import Mapping
from typing import Any

from mappings.to_fhir.card import RECOMMENDATION, CardView, OutcomeView
from mappings.to_fhir.codings import MEDICATION_ASSESSED, UCUM, category, labelled, own
from mappings.to_fhir.common import (
    Json,
    as_references,
    encounter,
    identifier,
    method,
    notes,
    references,
    resource_id,
    timestamp,
    until_sentence,
)
from mappings.to_fhir.interval import in_unit
from mappings.to_fhir.links import Links
from mappings.to_fhir.wording import (
    inputs_sentence,
    interval_sentence,
    measured,
    narrative,
    paragraph,
    plain,
)
from mappings.vocabulary.concept_table import concept_for, decimals
from mappings.vocabulary.units import unit_label

_SIGNIFICANT = 3  # digits of a quantity that is none of our concepts


def observation(
    assessment: Mapping[str, Any],
    result: Mapping[str, Any],
    view: CardView,
    links: Links,
    device: str,
    suffix: str = "",
) -> Json:
    """`suffix` tells apart several results under one identifier."""
    outcome = view.outcome(result)
    if outcome.kind == RECOMMENDATION:
        return recommendation(assessment, result, view, links, device, suffix)
    value = _rounded(result["value"], outcome)

    def shown(amount: float) -> str:
        return measured(_rounded(amount, outcome), result["unit"])

    interval = interval_sentence(result, shown)
    sentence = f"{outcome.label}: {shown(value)}."
    resource: Json = {
        "resourceType": "Observation",
        "id": resource_id("Observation", *links.identifier, suffix),
        "meta": labelled(),
        **in_unit(result, lambda bound: _rounded(bound, outcome)),
        "text": narrative([_headline(view, links), paragraph(sentence, interval)]),
        "identifier": identifier(links, suffix),
        "status": "preliminary",
        "category": [category(outcome.kind)],
        "code": {
            "coding": [*outcome.codings, own(links, "outcome", outcome.id, outcome.label)],
            "text": outcome.label,
        },
        "subject": {"reference": links.subject},
        **encounter(links),
        "effectiveDateTime": timestamp(links.occurrence),
        "valueQuantity": _quantity(value, result["unit"]),
        "method": method(view, links),
        "device": {"reference": device},
        "note": notes(
            assessment,
            view,
            links,
            paragraph(interval, _category(result), inputs_sentence(assessment["inputs"])),
        ),
    }
    # R4 lets an Observation derive from few types; the other inputs are in the Provenance.
    derived = [r for r in references(assessment, links) if type_of(r) == "Observation"]
    if derived:
        resource["derivedFrom"] = as_references(derived)
    return resource


def recommendation(
    assessment: Mapping[str, Any],
    result: Mapping[str, Any],
    view: CardView,
    links: Links,
    device: str,
    suffix: str,
) -> Json:
    """What a guideline says, as a coded answer with the medicine it is about; no number."""
    outcome, category_of = view.outcome(result), result["category"]
    said = view.said(category_of)
    code = category_of["code"]
    coding = own(links, f"recommendation-{category_of['scheme']}", code, plain(code).capitalize())
    resource: Json = {
        "resourceType": "Observation",
        "id": resource_id("Observation", *links.identifier, suffix),
        "meta": labelled(),
        "text": narrative([_headline(view, links), f"{outcome.label}: {said}"]),
        "identifier": identifier(links, suffix),
        "status": "preliminary",
        "category": [category(outcome.kind)],
        "code": {
            "coding": [own(links, "outcome", outcome.id, outcome.label)],
            "text": outcome.label,
        },
        "subject": {"reference": links.subject},
        **encounter(links),
        "effectiveDateTime": timestamp(links.occurrence),
        "valueCodeableConcept": {"coding": [coding], "text": said or plain(code).capitalize()},
        "method": method(view, links),
        "device": {"reference": device},
        "note": notes(assessment, view, links, inputs_sentence(assessment["inputs"])),
    }
    if outcome.about:
        medicine = {"coding": [outcome.about], "text": outcome.about.get("display", "")}
        resource["component"] = [{"code": MEDICATION_ASSESSED, "valueCodeableConcept": medicine}]
    derived = [r for r in references(assessment, links) if type_of(r) == "Observation"]
    if derived:
        resource["derivedFrom"] = as_references(derived)
    return resource


def _headline(view: CardView, links: Links) -> str:
    return paragraph(f"{view.text}: preliminary.", until_sentence(links))


def type_of(reference: str) -> str:
    parts = reference.split("/_history/")[0].split("/")
    return parts[-2] if len(parts) > 1 else ""


def _rounded(value: float, outcome: OutcomeView) -> float:
    """To the clinical precision of the concept that the outcome's code stands for."""
    for coding in outcome.codings:
        rule = concept_for(coding["system"], coding["code"])
        if rule is not None and rule.use == "map":
            return round(value, decimals(rule.concept))
    return float(f"{value:.{_SIGNIFICANT}g}")


def _quantity(value: float, unit: str) -> Json:
    """`unit` is for people and `code` for machines."""
    return {"value": value, "unit": unit_label(unit) or unit, "system": UCUM, "code": unit}


def _category(result: Mapping[str, Any]) -> str:
    category_of = result.get("category")
    if category_of is None:
        return ""
    return f"Category: {plain(category_of['code'])} ({category_of['scheme']})."
