"""The same assessment in forms that more servers take, where none takes a RiskAssessment.

    risk-assessment   RiskAssessment for probabilities, Observation for the rest (`assessment.py`)
    observation       one Observation with a component per outcome and horizon
    document          a DocumentReference: text to read, and the native resources beside it

Each form carries the same identifier, the same Device and the same Provenance.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mappings.to_fhir.assessment import assessment_resources
from mappings.to_fhir.card import PROBABILITY, CardView
from mappings.to_fhir.codings import UCUM, category, labelled, own
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
from mappings.to_fhir.companions import device, provenance, url
from mappings.to_fhir.interval import in_percent
from mappings.to_fhir.links import Links
from mappings.to_fhir.observation import type_of
from mappings.to_fhir.papers import document
from mappings.to_fhir.wording import (
    horizon_words,
    inputs_sentence,
    interval_sentence,
    narrative,
    paragraph,
    percent,
    plain,
    spelled,
)

NATIVE, OBSERVATION, DOCUMENT = "risk-assessment", "observation", "document"
FORMS = (NATIVE, OBSERVATION, DOCUMENT)


def form_of(
    form: str, assessment: Mapping[str, Any], card: Mapping[str, Any], links: Links
) -> list[Json]:
    """The assessment in one form; nothing for an assessment without a result."""
    native = assessment_resources(assessment, card, links)
    if form == NATIVE or not native:
        return native
    view = CardView(card, assessment)
    machine = device(view, links)
    if form == DOCUMENT:
        made = [_document(assessment, native, view, links, url(machine))]
    else:
        made = [r for r in native if r["resourceType"] == "Observation"]
        risks = [r for r in assessment["results"] if view.outcome(r).kind == PROBABILITY]
        made += [_observation(assessment, risks, view, links, url(machine))] if risks else []
    return [machine, *made, provenance(assessment, made, links, url(machine))]


# -- Observation -------------------------------------------------------------------------------


def _observation(
    assessment: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    view: CardView,
    links: Links,
    machine: str,
) -> Json:
    """Probabilities in percent. The horizon has no element of its own: it is in the texts."""
    lines = [_sentence(result, view) for result in results]
    resource: Json = {
        "resourceType": "Observation",
        "id": resource_id("Observation", *links.identifier, "probabilities"),
        "meta": labelled(),
        "text": narrative([paragraph(f"{view.text}: preliminary.", until_sentence(links)), *lines]),
        "identifier": identifier(links),
        "status": "preliminary",
        "category": [category("score")],
        "code": {
            "coding": [own(links, "model", view.code, view.title, view.version)],
            "text": view.title,
        },
        "subject": {"reference": links.subject},
        **encounter(links),
        "effectiveDateTime": timestamp(links.occurrence),
        "method": method(view, links),
        "device": {"reference": machine},
        "note": notes(assessment, view, links, *lines, inputs_sentence(assessment["inputs"])),
        "component": [_component(result, view, links) for result in results],
    }
    derived = [r for r in references(assessment, links) if type_of(r) == "Observation"]
    if derived:
        resource["derivedFrom"] = as_references(derived)
    return resource


def _component(result: Mapping[str, Any], view: CardView, links: Links) -> Json:
    outcome = view.outcome(result)
    years = result.get("horizonYears")
    code = f"{outcome.id}-{years}y" if years is not None else outcome.id
    return {
        **in_percent(result),
        "code": {
            "coding": [own(links, "outcome", code)],
            "text": f"{outcome.label}{horizon_words(result)}",
        },
        "valueQuantity": {
            "value": percent(result["value"]),
            "unit": "%",
            "system": UCUM,
            "code": "%",
        },
    }


def _sentence(result: Mapping[str, Any], view: CardView) -> str:
    outcome = view.outcome(result)
    if outcome.kind != PROBABILITY:
        return ""
    band = result.get("category")
    return paragraph(
        f"{outcome.label}{horizon_words(result)}: {spelled(result['value'])}.",
        interval_sentence(result, spelled),
        f"Category: {plain(band['code'])} ({band['scheme']})." if band else "",
    )


# -- DocumentReference -------------------------------------------------------------------------


def _document(
    assessment: Mapping[str, Any],
    native: Sequence[Json],
    view: CardView,
    links: Links,
    machine: str,
) -> Json:
    results = [r for r in native if r["resourceType"] in ("RiskAssessment", "Observation")]
    readable = _readable(assessment, view, links, results)
    used = references(assessment, links)
    return document(results, readable, view.title, used, links, machine) | {
        "text": narrative([paragraph(f"{view.text}: preliminary.", until_sentence(links))]),
        "description": paragraph(
            f"{view.text}: preliminary, not reviewed by a clinician.", until_sentence(links)
        ),
    }


def _readable(
    assessment: Mapping[str, Any], view: CardView, links: Links, results: Sequence[Json]
) -> str:
    lines = [f"{view.text} ({links.occurrence.date().isoformat()})", ""]
    lines += [line for r in assessment["results"] if (line := _sentence(r, view))]
    lines += [
        f"{r['code']['text']}: {r['valueQuantity']['value']} {r['valueQuantity']['unit']}"
        for r in results
        if "valueQuantity" in r
    ]
    lines += [
        f"{r['code']['text']}: {r['valueCodeableConcept']['text']}"
        for r in results
        if "valueCodeableConcept" in r
    ]
    lines += ["", inputs_sentence(assessment["inputs"]), ""]
    lines += [note["text"] for note in notes(assessment, view, links)]
    return "\n".join(lines) + "\n"
