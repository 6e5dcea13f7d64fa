"""A twin document → the lines of a personal health record (HL7 PHR: NDJSON, a cover page first).

The same resources as the collection Bundle, but nothing here has a `fullUrl`: references are
`Type/id`. Files that travel beside the record are named by a DocumentReference each, whose
attachment is the member's path. R4 asks for a SHA-1 there; what protects the parts is the
package's signed list, which has SHA-256.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mappings.to_fhir.codings import LOINC
from mappings.to_fhir.common import resource_id
from mappings.to_fhir.companions import url
from mappings.to_fhir.relative import masked
from mappings.to_fhir.twin_bundle import Cards, twin_bundle
from mappings.to_fhir.twin_facts import Json, coded
from mappings.to_fhir.wording import narrative

RECORD = "11503-0"  # LOINC: medical records
TWIN_TYPE = "application/vnd.twinport.twin+json;version=1"
TITLE = "Personal health record from a pseudonymous twin"


class Beside(NamedTuple):
    """A file that travels with the record."""

    path: str
    content_type: str
    title: str
    content: bytes


def phr_lines(document: Mapping[str, Any], cards: Cards, files: Sequence[Beside]) -> list[Json]:
    """Cover page, patient, then the rest by type and id."""
    held = [entry["resource"] for entry in twin_bundle(document, cards)["entry"]]
    patient = next(r for r in held if r["resourceType"] == "Patient")
    device = next(r for r in held if r["resourceType"] == "Device")
    documents = [_document(document, patient, file) for file in files]
    cover = _cover(document, patient, device, documents)
    names = {url(r): f"{r['resourceType']}/{r['id']}" for r in (cover, *held, *documents)}
    rest = sorted(
        (r for r in (*held, *documents) if r is not patient),
        key=lambda r: (r["resourceType"], r["id"]),
    )
    return [_named(resource, names) for resource in (cover, patient, *rest)]


def _cover(
    document: Mapping[str, Any], patient: Json, device: Json, documents: Iterable[Json]
) -> Json:
    head = document["twin"]
    section: Json = {
        "title": "Related documents",
        "text": narrative([one["description"] for one in documents]),
        "entry": [{"reference": url(one)} for one in documents],
    }
    return {
        "resourceType": "Composition",
        "id": resource_id(head["id"], "PHR", str(head["version"])),
        "text": narrative([f"{TITLE}, version {head['version']}."]),
        "status": "preliminary",
        "type": coded(RECORD, LOINC, "Medical records"),
        "subject": {"reference": url(patient)},
        "_date": masked(),
        "author": [{"reference": url(device)}],
        "title": TITLE,
        "section": [section],
    }


def _document(document: Mapping[str, Any], patient: Json, file: Beside) -> Json:
    head = document["twin"]
    sha1 = hashlib.sha1(file.content, usedforsecurity=False).digest()
    attachment = {
        "contentType": file.content_type,
        "url": file.path,
        "size": len(file.content),
        "hash": base64.b64encode(sha1).decode(),
        "title": file.title,
    }
    return {
        "resourceType": "DocumentReference",
        "id": resource_id(head["id"], "PHR", str(head["version"]), file.path),
        "status": "current",
        "subject": {"reference": url(patient)},
        "description": file.title,
        "content": [{"attachment": attachment}],
    }


def signed_document(document: Mapping[str, Any], file: bytes) -> Json:
    """The signed twin inside a resource, for channels that carry nothing but FHIR."""
    head = document["twin"]
    title = "The signed twin: save the attachment and verify it"
    return {
        "resourceType": "DocumentReference",
        "id": resource_id(head["id"], "signed", str(head["version"])),
        "status": "current",
        "description": title,
        "content": [
            {
                "attachment": {
                    "contentType": TWIN_TYPE,
                    "data": base64.b64encode(file).decode(),
                    "title": "twin.json",
                }
            }
        ],
    }


def _named(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: names.get(inner, inner) if key == "reference" else _named(inner, names)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_named(inner, names) for inner in value]
    return value
