"""A result as a DocumentReference: text to read, and the native resources as JSON beside it."""

import base64
import json
from collections.abc import Sequence

from mappings.to_fhir.codings import LOINC, labelled
from mappings.to_fhir.common import Json, as_references, identifier, resource_id, timestamp
from mappings.to_fhir.links import Links

# LOINC 71482-4, the document type of a risk assessment.
_RISK_DOCUMENT = {"system": LOINC, "code": "71482-4", "display": "Risk assessment Document"}


def document(
    native: Sequence[Json],
    readable: str,
    title: str,
    used: Sequence[str],
    links: Links,
    machine: str,
) -> Json:
    """Without narrative and description, which are the caller's to add."""
    when = timestamp(links.occurrence)
    resource: Json = {
        "resourceType": "DocumentReference",
        "id": resource_id("DocumentReference", *links.identifier),
        "meta": labelled(),
        "identifier": identifier(links),
        "status": "current",
        "docStatus": "preliminary",
        "type": {"coding": [dict(_RISK_DOCUMENT)], "text": title},
        "subject": {"reference": links.subject},
        "date": when,
        "author": [{"reference": machine}],
        "content": [
            _attachment("text/plain", readable, title, when),
            _attachment("application/json", _embedded(native), title, when),
        ],
    }
    context = _context(used, links)
    return resource | ({"context": context} if context else {})


def _context(used: Sequence[str], links: Links) -> Json:
    context: Json = {"related": as_references(used)} if used else {}
    if links.encounter:
        context["encounter"] = as_references([links.encounter])
    return context


def _attachment(kind: str, content: str, title: str, when: str) -> Json:
    data = base64.b64encode(content.encode()).decode("ascii")
    return {"attachment": {"contentType": kind, "data": data, "title": title, "creation": when}}


def _embedded(results: Sequence[Json]) -> str:
    """The native resources, without references to what only this set names."""
    shown = [{k: v for k, v in r.items() if k not in ("performer", "device")} for r in results]
    return json.dumps(shown[0] if len(shown) == 1 else shown, ensure_ascii=False, indent=1)
