"""Our results as our own façade shows them: about a twin, without a reference to any patient.

The same resources as are written back, with every reference to the source server replaced: the
subject by the twin's pseudonym, inputs by the pseudonyms of their sources, companions by their ids
here. Times stay those of the assessment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from mappings.to_fhir import Links, assessment_resources, refusal_of
from service.pipeline.deliver import Deliverer, sources_used, to_write
from service.pipeline.make import Made
from service.stores.own import Own

Json = dict[str, Any]

TWIN_SYSTEM = "urn:twinport:twin"
SOURCE_SYSTEM = "urn:twinport:source"
_ABOUT_NOBODY = frozenset({"Device"})


def own_resources(made: Made, deliverer: Deliverer, *, refusals: bool = False) -> list[Own]:
    """Every resource of this version's assessments, ready to be kept."""
    found: list[Own] = []
    for assessment in to_write(made, refusals):
        links = _pseudonymous(deliverer.links(made, assessment), made, assessment)
        resources = _resources(assessment, deliverer.versions.card(assessment["model"]), links)
        here = {f"urn:uuid:{r['id']}": f"{r['resourceType']}/{r['id']}" for r in resources}
        found += [_own(_rewritten(r, here), made.twin.id) for r in resources]
    return found


def _resources(assessment: Json, card: Json, links: Links) -> list[Json]:
    if assessment["results"]:
        return assessment_resources(assessment, card, links)
    return refusal_of("risk-assessment", assessment, card, links)


def _pseudonymous(links: Links, made: Made, assessment: Json) -> Links:
    used = sources_used(made, assessment)
    sources = {i: f"{kind}/{name}" for i, (kind, name) in used.items()}
    return replace(links, subject=f"Patient/{made.twin.id}", sources=sources, encounter="")


def _rewritten(node: Any, here: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        text = node.get("reference")
        if isinstance(text, str):
            return _reference(text, here)
        return {key: _rewritten(value, here) for key, value in node.items()}
    return [_rewritten(item, here) for item in node] if isinstance(node, list) else node


def _reference(text: str, here: Mapping[str, str]) -> Json:
    """Literal where it can be followed here; logical, by pseudonym, where not."""
    if text in here:
        return {"reference": here[text]}
    kind, _, pseudonym = text.partition("/")
    system = TWIN_SYSTEM if kind == "Patient" else SOURCE_SYSTEM
    return {"type": kind, "identifier": {"system": system, "value": pseudonym}}


def _own(resource: Json, twin: str) -> Own:
    kind = resource["resourceType"]
    first: Mapping[str, str] = next(iter(resource.get("identifier", ())), {})
    targets: Iterable[Mapping[str, str]] = resource.get("target", ())
    return Own(
        type=kind,
        id=resource["id"],
        twin=None if kind in _ABOUT_NOBODY else twin,
        content=orjson.dumps(resource),
        system=first.get("system"),
        value=first.get("value"),
        target=next((target.get("reference") for target in targets), None),
    )
