"""One assessment as the resources that are written back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mappings.to_fhir.card import PROBABILITY, CardView
from mappings.to_fhir.common import Json, resource_id
from mappings.to_fhir.companions import device, provenance, url
from mappings.to_fhir.links import Links
from mappings.to_fhir.observation import observation
from mappings.to_fhir.risk_assessment import risk_assessment


def assessment_resources(
    assessment: Mapping[str, Any], card: Mapping[str, Any], links: Links
) -> list[Json]:
    """Device, results and Provenance; nothing for an assessment without a result.

    A probability becomes a prediction of one RiskAssessment, any other result an Observation.
    Resources refer to one another by `urn:uuid:<id>`.
    """
    results = assessment["results"]
    if not results:
        return []
    view = CardView(card, assessment)
    machine = device(view, links)
    made = [
        risk_assessment(assessment, told, view, links, url(machine))
        if kind == "RiskAssessment"
        else observation(assessment, told[0], view, links, url(machine), suffix)
        for kind, suffix, told in _parts(results, view)
    ]
    return [machine, *made, provenance(assessment, made, links, url(machine))]


def outline(
    assessment: Mapping[str, Any], card: Mapping[str, Any], identifier: tuple[str, str]
) -> list[Json]:
    """The results among them by type and name alone: enough to look whether a server has them."""
    system, value = identifier
    return [
        {
            "resourceType": kind,
            "id": resource_id(kind, system, value, *([suffix] if kind == "Observation" else [])),
            "identifier": [{"system": system, "value": f"{value}.{suffix}" if suffix else value}],
        }
        for kind, suffix, _ in _parts(assessment["results"], CardView(card, assessment))
    ]


def _parts(results: Sequence[Any], view: CardView) -> Iterator[tuple[str, str, list[Any]]]:
    """What becomes of the results: type, suffix of the identifier, and which of them."""
    risks = [one for one in results if view.outcome(one).kind == PROBABILITY]
    others = [one for one in results if view.outcome(one).kind != PROBABILITY]
    if risks:
        yield "RiskAssessment", "", risks
    for one in others:
        yield "Observation", one["outcome"] if len(others) > 1 else "", [one]
