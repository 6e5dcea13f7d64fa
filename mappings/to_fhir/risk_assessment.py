"""Probabilities → one RiskAssessment with a prediction for each outcome and horizon."""

from collections.abc import Mapping, Sequence
from typing import Any

from mappings.to_fhir.card import CardView
from mappings.to_fhir.codings import labelled, own
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
    years_later,
)
from mappings.to_fhir.interval import in_percent
from mappings.to_fhir.links import Links
from mappings.to_fhir.wording import (
    horizon_words,
    inputs_sentence,
    interval_sentence,
    narrative,
    paragraph,
    plain,
    probability_decimal,
    spelled,
)

Results = Sequence[Mapping[str, Any]]


def risk_assessment(
    assessment: Mapping[str, Any], results: Results, view: CardView, links: Links, device: str
) -> Json:
    resource: Json = {
        "resourceType": "RiskAssessment",
        "id": resource_id("RiskAssessment", *links.identifier),
        "meta": labelled(),
        "text": narrative([_headline(view, links), *(_sentence(r, view) for r in results)]),
        "identifier": identifier(links),
        "status": "preliminary",
        "method": method(view, links),
        "code": {"text": view.title},
        "subject": {"reference": links.subject},
        **encounter(links),
        "occurrenceDateTime": timestamp(links.occurrence),
        "performer": {"reference": device},
    }
    if view.about:
        resource["code"]["coding"] = list(view.about)
    basis = references(assessment, links)
    if basis:
        resource["basis"] = as_references(basis)
    said = inputs_sentence(assessment["inputs"])
    resource["prediction"] = [_prediction(r, said, view, links) for r in results]
    resource["note"] = notes(assessment, view, links)
    return resource


def _headline(view: CardView, links: Links) -> str:
    day = links.occurrence.date().isoformat()
    return paragraph(f"{view.text}: preliminary, {day}.", until_sentence(links))


def _sentence(result: Mapping[str, Any], view: CardView) -> str:
    outcome = view.outcome(result)
    return paragraph(
        f"{outcome.label}{horizon_words(result)}: {spelled(result['value'])}.",
        interval_sentence(result, spelled),
    )


def _prediction(result: Mapping[str, Any], inputs: str, view: CardView, links: Links) -> Json:
    outcome = view.outcome(result)
    coding = own(links, "outcome", outcome.id, outcome.label)
    prediction: Json = {
        **in_percent(result),
        "outcome": {"coding": [coding, *outcome.codings], "text": outcome.label},
        "probabilityDecimal": probability_decimal(result["value"], links.probability_scale),
    }
    if "category" in result:
        prediction["qualitativeRisk"] = _category(result["category"], links)
    prediction["whenPeriod"] = _when(result, links)
    prediction["rationale"] = _rationale(result, inputs)
    return prediction


def _category(category: Mapping[str, str], links: Links) -> Json:
    """The guideline's own word. HL7's `high` means "more likely than not" and is not ours."""
    scheme, code = category["scheme"], category["code"]
    coding = own(links, f"risk-category-{scheme}", code, plain(code).capitalize())
    return {"coding": [coding], "text": f"{plain(code).capitalize()} ({scheme})"}


def _when(result: Mapping[str, Any], links: Links) -> Json:
    """From the day of the assessment to the horizon; that day alone for what is said of now.
    Without it a risk would mean the lifespan."""
    start = links.occurrence.date()
    end = years_later(start, result.get("horizonYears", 0))
    return {"start": start.isoformat(), "end": end.isoformat()}


def _rationale(result: Mapping[str, Any], inputs: str) -> str:
    return paragraph(f"{spelled(result['value'])}.", interval_sentence(result, spelled), inputs)
