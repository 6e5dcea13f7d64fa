"""A model's refusal, as such: that no estimate was made, and why. There is no number in it.

Its status is `cancelled`, which FHIR defines as "unavailable because the measurement was not
started or not completed": whoever looks for results in force passes it over. A tag says the same
to programs that look at nothing else.

    risk-assessment   RiskAssessment without a prediction; Observation without a value for a model
                      that gives no probabilities
    observation       Observation with a `dataAbsentReason`
    document          DocumentReference: the sentences, and the native resource beside them
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mappings.to_fhir.card import PROBABILITY, CardView
from mappings.to_fhir.codings import NOT_PERFORMED, category, labelled, own
from mappings.to_fhir.common import (
    Json,
    as_references,
    encounter,
    gaps,
    identifier,
    method,
    reason_sentence,
    references,
    resource_id,
    timestamp,
)
from mappings.to_fhir.companions import device, provenance, url
from mappings.to_fhir.links import Links
from mappings.to_fhir.observation import type_of
from mappings.to_fhir.papers import document
from mappings.to_fhir.wording import horizon_words, label, narrative

NO_ESTIMATE = "no-estimate"
_NATIVE, _DOCUMENT = "risk-assessment", "document"
_NOT_A_RESULT = "This says nothing about how high or low the risk or value is."


def refusal_of(
    form: str, assessment: Mapping[str, Any], card: Mapping[str, Any], links: Links
) -> list[Json]:
    """A wholly refused assessment in one form of the ladder; nothing for one with a result."""
    if assessment["results"] or not assessment["refusals"]:
        return []
    view = CardView(card, assessment)
    machine = device(view, links)
    sentences = list(_sentences(assessment, view, links))
    native = _native(form, assessment, view)
    made = _resource(native, sentences, assessment, view, links, url(machine))
    if form == _DOCUMENT:
        made = _document(made, sentences, assessment, view, links, url(machine))
    return [machine, made, provenance(assessment, [made], links, url(machine))]


def _native(form: str, assessment: Mapping[str, Any], view: CardView) -> str:
    kinds = {view.outcome(refusal).kind for refusal in assessment["refusals"]}
    takes_risk = form in (_NATIVE, _DOCUMENT)
    return "RiskAssessment" if takes_risk and PROBABILITY in kinds else "Observation"


# -- words -------------------------------------------------------------------------------------


def _sentences(assessment: Mapping[str, Any], view: CardView, links: Links) -> Iterable[str]:
    """That there is no estimate; why, once for each reason; what would help; what was not seen."""
    yield f"No estimate was made by {view.text}. {_NOT_A_RESULT}"
    for sentence, outcomes in _reasons(assessment["refusals"], view, links).items():
        yield f"{'; '.join(outcomes)}: {sentence}"
    if helps := assessment.get("helps"):
        yield f"What would help most: {label(helps)}."
    yield from gaps(assessment, links)


def _reasons(
    refusals: Iterable[Mapping[str, Any]], view: CardView, links: Links
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for refusal in refusals:
        outcome = f"{view.outcome(refusal).label}{horizon_words(refusal)}"
        found.setdefault(reason_sentence(refusal, links), []).append(outcome)
    return found


# -- resources ---------------------------------------------------------------------------------


def _meta(links: Links) -> Json:
    tag = own(links, "answer", NO_ESTIMATE, "No estimate was made")
    return {**labelled(), "tag": [tag]}


def _resource(
    kind: str,
    sentences: list[str],
    assessment: Mapping[str, Any],
    view: CardView,
    links: Links,
    machine: str,
) -> Json:
    when = timestamp(links.occurrence)
    resource: Json = {
        "resourceType": kind,
        "id": resource_id(kind, *links.identifier),
        "meta": _meta(links),
        "text": narrative(sentences),
        "identifier": identifier(links),
        "status": "cancelled",
        "method": method(view, links),
        "subject": {"reference": links.subject},
        **encounter(links),
        "note": [{"time": when, "text": text} for text in sentences],
    }
    looked_at = references(assessment, links)
    if kind == "RiskAssessment":
        return resource | _as_risk(looked_at, view, when, machine)
    return resource | _as_observation(looked_at, view, links, machine)


def _as_risk(looked_at: list[str], view: CardView, when: str, machine: str) -> Json:
    code: Json = {"text": f"{view.title}: no estimate"}
    found: Json = {
        "code": code | ({"coding": list(view.about)} if view.about else {}),
        "occurrenceDateTime": when,
        "performer": {"reference": machine},
    }
    return found | ({"basis": as_references(looked_at)} if looked_at else {})


def _as_observation(looked_at: list[str], view: CardView, links: Links, machine: str) -> Json:
    """Under our own code alone: it shall not stand in a list of laboratory values."""
    coding = own(links, "model", view.code, view.title, view.version)
    found: Json = {
        "category": [category("score")],
        "code": {"coding": [coding], "text": f"{view.title}: no estimate"},
        "effectiveDateTime": timestamp(links.occurrence),
        "dataAbsentReason": NOT_PERFORMED,
        "device": {"reference": machine},
    }
    derived = [one for one in looked_at if type_of(one) == "Observation"]
    return found | ({"derivedFrom": as_references(derived)} if derived else {})


def _document(
    native: Json,
    sentences: list[str],
    assessment: Mapping[str, Any],
    view: CardView,
    links: Links,
    machine: str,
) -> Json:
    made = document(
        [native],
        "\n".join(sentences) + "\n",
        f"{view.title}: no estimate",
        references(assessment, links),
        links,
        machine,
    )
    return made | {"meta": _meta(links), "text": narrative(sentences), "description": sentences[0]}
