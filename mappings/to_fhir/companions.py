"""Device and Provenance: which machine said it, from what."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mappings.to_fhir.card import CardView
from mappings.to_fhir.codings import (
    AI_DEVICE,
    AI_KIND,
    AI_TYPES,
    AIAST,
    AUTHOR,
    CREATE,
    Based,
    own_system,
)
from mappings.to_fhir.common import (
    Json,
    as_references,
    references,
    resource_id,
    timestamp,
)
from mappings.to_fhir.links import Links
from mappings.to_fhir.wording import narrative


class Running(Based, Protocol):
    """What knows which version of our software runs."""

    @property
    def software(self) -> str: ...


def device(view: CardView, place: Running) -> Json:
    """The model in one version, run by one version of the software. One Device for all results."""
    system = own_system(place, "device")
    value = f"{view.id}-{view.version}_twinport-{place.software}"
    resource: Json = {
        "resourceType": "Device",
        "id": resource_id("Device", system, value),
        "text": narrative([f"{view.title}, version {view.version} (Twinport {place.software})."]),
        "identifier": [{"system": system, "value": value}],
        "status": "active",
        "manufacturer": "Twinport",
        "deviceName": [{"name": view.title, "type": "model-name"}],
        "modelNumber": view.id,
        "type": AI_DEVICE,
        "version": [
            {"type": {"text": "model"}, "value": view.version},
            {"type": {"text": "software"}, "value": place.software},
        ],
    }
    if view.ai_kinds:
        resource["extension"] = [_kind(code) for code in view.ai_kinds]
    return resource


def device_of(made_by: Mapping[str, str], card: Mapping[str, Any], place: Running) -> Json:
    """That of a model (`{"id": ..., "version": ...}`): it says nothing of any patient."""
    return device(CardView(card, {"model": made_by}), place)


def _kind(code: str) -> Json:
    concept = {"coding": [{"system": AI_TYPES, "code": code}]}
    return {"url": AI_KIND, "valueCodeableConcept": concept}


def provenance(
    assessment: Mapping[str, Any], targets: Sequence[Json], links: Links, device_url: str
) -> Json:
    """Who made the results, when, why and from which records."""
    sources = references(assessment, links)
    resource: Json = {
        "resourceType": "Provenance",
        "id": resource_id("Provenance", *(target["id"] for target in targets)),
        "target": as_references(url(target) for target in targets),
        "occurredDateTime": timestamp(links.occurrence),
        "recorded": timestamp(links.occurrence),
        "reason": [{"coding": [dict(AIAST)]}],
        "activity": CREATE,
        "agent": [{"type": AUTHOR, "role": [AI_DEVICE], "who": {"reference": device_url}}],
    }
    entities = [{"role": "source", "what": what} for what in as_references(sources)]
    entities += [{"role": "revision", "what": what} for what in as_references(links.revises)]
    if entities:
        resource["entity"] = entities
    return resource


def url(resource: Json) -> str:
    """How resources refer to one another before a server has named them."""
    return f"urn:uuid:{resource['id']}"
