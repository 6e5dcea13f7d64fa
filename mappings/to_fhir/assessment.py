"""One assessment as the resources that are written back."""

from collections.abc import Mapping
from typing import Any

from mappings.to_fhir.card import PROBABILITY, CardView
from mappings.to_fhir.common import Json
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
    risks = [r for r in results if view.outcome(r).kind == PROBABILITY]
    others = [r for r in results if view.outcome(r).kind != PROBABILITY]
    made = [risk_assessment(assessment, risks, view, links, url(machine))] if risks else []
    for result in others:
        suffix = result["outcome"] if len(others) > 1 else ""
        made.append(observation(assessment, result, view, links, url(machine), suffix))
    return [machine, *made, provenance(assessment, made, links, url(machine))]
