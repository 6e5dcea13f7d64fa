"""The models' answers inside a twin → RiskAssessment and Observation without a calendar date.

The resources that are written back to a server carry dates and the server's references; these
carry relative times and references inside the Bundle. A horizon becomes an age range, which R4 has
for this purpose, where the age is known exactly.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mappings.to_fhir.card import PROBABILITY, RECOMMENDATION, CardView
from mappings.to_fhir.codings import UCUM, category, labelled
from mappings.to_fhir.common import resource_id
from mappings.to_fhir.companions import url
from mappings.to_fhir.interval import in_percent, in_unit
from mappings.to_fhir.relative import OWN
from mappings.to_fhir.twin_facts import Frame, Json
from mappings.to_fhir.wording import percent, plain
from mappings.vocabulary.units import unit_label

Assessment = Mapping[str, Any]
_PER_DAY = {"d": 1, "min": 1440}
LIFECYCLE, NO_LONGER_CURRENT = "urn:twinport:lifecycle", "no-longer-current"


def answers(
    document: Mapping[str, Any],
    frame: Frame,
    cards: Mapping[str, Mapping[str, Any]],
    made_of: Mapping[int, Sequence[Json]],
    days_since: int | None = None,
) -> Iterator[Json]:
    """`cards` by model id; a model without a card is named by its id alone. `made_of`: which
    resources of the Bundle were made of a source. `days_since` the record was last read, where
    that is known; a file cannot know what day it is opened on, and says how long it holds."""
    age = None if document["subject"].get("ageTopCoded") else document["subject"].get("age")
    for assessment in document["assessments"]:
        if not assessment["results"] or assessment.get("silent"):
            continue
        view = CardView(cards.get(assessment["model"]["id"], {}), assessment)
        life = view.life_days(assessment, _PER_DAY[document["twin"]["timeUnit"]])
        basis = _basis(assessment, made_of)
        risks = [r for r in assessment["results"] if view.outcome(r).kind == PROBABILITY]
        if risks:
            yield _lasting(_risk(assessment, risks, view, frame, basis, age), life, days_since)
        for i, result in enumerate(r for r in assessment["results"] if r not in risks):
            made = _quantity(assessment, result, view, frame, basis, i)
            yield _lasting(made, life, days_since)


def _lasting(resource: Json, life: int | None, days_since: int | None) -> Json:
    """How long it holds; and that it no longer does."""
    if life is None:
        return resource
    days = f"{life} day{'' if life == 1 else 's'}"
    note = f"Holds for {days} after the record was read; after that it is past its shelf life."
    made = resource | {"note": [{"text": note}]}
    if days_since is None or days_since <= life:
        return made
    meta = {**resource["meta"], "tag": [{"system": LIFECYCLE, "code": NO_LONGER_CURRENT}]}
    past = f"No longer current: the record was read {days_since} days ago, and it held for {days}."
    return made | {"meta": meta, "note": [{"text": past}]}


def _basis(assessment: Assessment, made_of: Mapping[int, Sequence[Json]]) -> list[Json]:
    """The resources that hold the inputs."""
    used = dict.fromkeys(src for one in assessment["inputs"] for src in one.get("src", ()))
    return [resource for src in used for resource in made_of.get(src, ())]


def _references(resources: Iterable[Json]) -> list[Json]:
    return [{"reference": url(resource)} for resource in resources]


def _shared(kind: str, assessment: Assessment, view: CardView, frame: Frame, *about: str) -> Json:
    """The snapshot makes the id: the same inputs of the same model give the same resource."""
    model = {"system": f"{OWN}:CodeSystem:model", "code": view.code, "version": view.version}
    snapshot = assessment["snapshot"]
    return {
        "resourceType": kind,
        "id": resource_id(frame.twin, kind, view.code, view.version, snapshot, *about),
        "meta": labelled(),
        "identifier": [{"system": "urn:twinport:snapshot", "value": snapshot}],
        "status": "preliminary",
        "method": {"coding": [model], "text": view.text},
        "subject": frame.reference(),
    }


def _outcome(view: CardView, result: Mapping[str, Any]) -> Json:
    outcome = view.outcome(result)
    own = {"system": f"{OWN}:CodeSystem:outcome", "code": outcome.id, "display": outcome.label}
    return {"coding": [*outcome.codings, own], "text": outcome.label}


def _risk(
    assessment: Assessment,
    results: Sequence[Mapping[str, Any]],
    view: CardView,
    frame: Frame,
    basis: list[Json],
    age: int | None,
) -> Json:
    made = _shared("RiskAssessment", assessment, view, frame)
    made["_occurrenceDateTime"] = frame.clock.at(assessment["at"])
    if basis:
        made["basis"] = _references(basis)
    made["prediction"] = [_prediction(result, view, age) for result in results]
    return made


def _prediction(result: Mapping[str, Any], view: CardView, age: int | None) -> Json:
    made = {
        **in_percent(result),
        "outcome": _outcome(view, result),
        "probabilityDecimal": percent(result["value"]),
        "rationale": _rationale(result),
    }
    if "category" in result:
        scheme, code = result["category"]["scheme"], result["category"]["code"]
        system = f"{OWN}:CodeSystem:risk-category-{scheme}"
        made["qualitativeRisk"] = {
            "coding": [{"system": system, "code": code}],
            "text": f"{plain(code).capitalize()} ({scheme})",
        }
    years = result.get("horizonYears", 0)
    if age is not None:
        made["whenRange"] = {"low": _years(age), "high": _years(age + years)}
    return made


def _years(years: float) -> Json:
    return {"value": years, "unit": "years", "system": UCUM, "code": "a"}


def _rationale(result: Mapping[str, Any]) -> str:
    years = result.get("horizonYears")
    within = "" if years is None else f" within {years:g} years"
    interval = result.get("interval")
    if interval is None:
        return f"{percent(result['value']):g} %{within}."
    low, high = percent(interval["low"]), percent(interval["high"])
    return f"{percent(result['value']):g} %{within}; {low:g} to {high:g} % if measured again."


def _value(result: Mapping[str, Any], view: CardView) -> Json:
    """A number with its unit; what a guideline says is a code with its sentence."""
    if view.outcome(result).kind == RECOMMENDATION:
        scheme, code = result["category"]["scheme"], result["category"]["code"]
        coding = {"system": f"{OWN}:CodeSystem:recommendation-{scheme}", "code": code}
        text = view.said(result["category"]) or plain(code).capitalize()
        return {"valueCodeableConcept": {"coding": [coding], "text": text}}
    unit = result["unit"]
    quantity = {"value": float(f"{result['value']:.6g}"), "unit": unit_label(unit) or unit}
    return {"valueQuantity": quantity | {"system": UCUM, "code": unit}}


def _quantity(
    assessment: Assessment,
    result: Mapping[str, Any],
    view: CardView,
    frame: Frame,
    basis: list[Json],
    position: int,
) -> Json:
    made = _shared("Observation", assessment, view, frame, result["outcome"], str(position))
    made |= {
        "category": [category(view.outcome(result).kind)],
        "code": _outcome(view, result),
        "_effectiveDateTime": frame.clock.at(assessment["at"]),
        **_value(result, view),
    }
    if "valueQuantity" in made:
        made |= in_unit(result, lambda bound: float(f"{bound:.6g}"))
    # R4 lets an Observation derive from few types.
    derived = [resource for resource in basis if resource["resourceType"] == "Observation"]
    if derived:
        made["derivedFrom"] = _references(derived)
    return made
