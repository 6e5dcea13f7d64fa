"""A model's card as a document beside its results, as the AI transparency guide has it."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from mappings.to_fhir.card import CardView
from mappings.to_fhir.codings import AI_CARD, AI_CARD_MARKDOWN, MODEL_CARD, own_system
from mappings.to_fhir.common import Json, resource_id
from mappings.to_fhir.companions import url
from mappings.to_fhir.links import Links
from mappings.to_fhir.wording import narrative, plain


def with_card(
    resources: Sequence[Json],
    assessment: Mapping[str, Any],
    card: Mapping[str, Any],
    links: Links,
) -> list[Json]:
    """The same set with the card's document: the Device points at it, the Provenance names it."""
    if not resources:
        return []
    document = card_document(CardView(card, assessment), card, links)
    return [document, *(_pointing(resource, url(document)) for resource in resources)]


def card_document(view: CardView, card: Mapping[str, Any], links: Links) -> Json:
    """One per model and version; about no patient."""
    system, value = own_system(links, "model-card"), f"{view.id}-{view.version}"
    text = markdown(view, card)
    data = base64.b64encode(text.encode()).decode("ascii")
    title = f"Model card: {view.title}, version {view.version}"
    return {
        "resourceType": "DocumentReference",
        "id": resource_id("DocumentReference", system, value),
        "text": narrative([f"{title}."]),
        "identifier": [{"system": system, "value": value}],
        "status": "current",
        "type": {"coding": [dict(AI_CARD)]},
        "category": [{"coding": [dict(AI_CARD_MARKDOWN)]}],
        "description": title,
        "content": [{"attachment": {"contentType": "text/markdown", "data": data, "title": title}}],
    }


def markdown(view: CardView, card: Mapping[str, Any]) -> str:
    """The card's own fields in its own order; nothing is added."""
    parts = [f"# {view.title}\n", f"Version {view.version}\n"]
    parts += [part for name, value in card.items() if (part := _section(name, value))]
    return "\n".join(parts)


def _section(name: str, value: Any) -> str:
    if name in ("id", "title", "version") or not isinstance(value, str | list | Mapping):
        return ""
    body = "\n".join(_lines(value))
    return f"## {plain(name.replace('_', '-')).capitalize()}\n\n{body}\n" if body else ""


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, Mapping):
        return [f"- {name}: {_inline(part)}" for name, part in value.items()]
    return [f"- {_inline(part)}" for part in value]


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_inline(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_inline, value))
    return str(value)


def _pointing(resource: Json, document: str) -> Json:
    if resource["resourceType"] == "Device":
        extension = {"url": MODEL_CARD, "valueReference": {"reference": document}}
        return {**resource, "extension": [*resource.get("extension", ()), extension]}
    if resource["resourceType"] == "Provenance":
        entity = {"role": "derivation", "what": {"reference": document}}
        return {**resource, "entity": [*resource.get("entity", ()), entity]}
    return resource
