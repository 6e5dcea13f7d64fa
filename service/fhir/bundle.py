"""Patient records from files: Bundles of every kind, single resources.

What a file lets us conclude from absence is stated in `CLAIMS`, per kind of file. A collection or
transaction is somebody's statement "this is the record", so a type it does not hold is empty as
far as the file goes. A search result speaks of the types it holds; a document is a summary, never
the whole.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from service.fhir import outcome
from service.fhir.errors import SourceError
from service.fhir.grouping import SCOPE, Claim, Pile, identity_of, records
from service.fhir.paging import link_of
from service.fhir.record import PatientRecord
from service.fhir.source import DEFAULT_CAP, read_parsed

HEAD = ("resourceType", "id", "meta")
NOT_IN_FILE = "not-in-file"
WHOLE = Claim("complete", "complete")
HELD = Claim("complete", NOT_IN_FILE)
SUMMARY = Claim("summary", NOT_IN_FILE)
CUT = Claim("more-pages", NOT_IN_FILE)

CLAIMS: Mapping[str, Claim] = {
    "collection": WHOLE,
    "transaction": WHOLE,
    "batch": WHOLE,
    "searchset": HELD,
    "history": HELD,
    "document": SUMMARY,
    "message": SUMMARY,
}

_TYPE_NAME = re.compile(r"[A-Z][A-Za-z]{2,49}\Z")


def read_bundle(source: Path | bytes, *, cap: int = DEFAULT_CAP) -> list[PatientRecord]:
    """The patients of one JSON file, packed or not."""
    read = read_parsed(source, cap, _lighten)
    found = read.value
    if not _is_resource(found):
        raise SourceError("is not a FHIR resource", "Give a FHIR R4 Bundle as JSON.")
    pile = Pile(referring=read.referring)
    if found["resourceType"] != "Bundle":
        _add(pile, found, "")
        return records(pile, "bundle", HELD)
    claim = _claim(found)
    for entry in _entries(found):
        _add_entry(pile, entry)
    return records(pile, "bundle", claim)


def _lighten(bundle: Any) -> list[dict[str, Any]]:
    """Leaves only the head of what is merely counted: of a hospital's Bundle, half of the bytes.

    A new head, and the few keys of it taken out of the resource: it has twenty others.
    """
    listed = bundle.get("entry") if type(bundle) is dict else None
    gone: list[dict[str, Any]] = []
    for entry in listed if type(listed) is list else ():
        resource = entry.get("resource") if type(entry) is dict else None
        if type(resource) is dict and _is_resource(resource) and not _is_read(resource):
            entry["resource"] = {key: resource.pop(key) for key in HEAD if key in resource}
            gone.append(resource)
    return gone


def _is_read(resource: dict[str, Any]) -> bool:
    return resource["resourceType"] in SCOPE or outcome.is_outcome(resource)


def _claim(bundle: dict[str, Any]) -> Claim:
    claim = CLAIMS.get(str(bundle.get("type")))
    if claim is None:
        raise SourceError(
            "is a Bundle of a type that holds no record",
            f"Give one of: {', '.join(CLAIMS)}.",
        )
    if link_of(bundle, "next") is not None:
        return CUT
    everything = "$everything" in (link_of(bundle, "self") or "")
    return WHOLE if everything and claim is HELD else claim


def _entries(bundle: dict[str, Any]) -> Iterator[dict[str, Any]]:
    listed = bundle.get("entry", [])
    if not isinstance(listed, list) or not all(isinstance(e, dict) for e in listed):
        raise SourceError("has a malformed entry list", "Give a valid FHIR R4 Bundle.")
    yield from listed


def _add_entry(pile: Pile, entry: dict[str, Any]) -> None:
    resource, url = entry.get("resource"), entry.get("fullUrl")
    request = entry.get("request")
    method = request.get("method") if isinstance(request, dict) else None
    if isinstance(request, dict) and method == "DELETE":
        pile.delete(str(request.get("url")))
    elif not _is_resource(resource):
        pile.lost["", "no-resource"] += 1
    else:
        _add(pile, resource, url if isinstance(url, str) else "")


def _add(pile: Pile, resource: dict[str, Any], full_url: str) -> None:
    name = resource["resourceType"]
    if outcome.is_outcome(resource):
        if outcome.loses_content(resource):
            pile.lost["", "server-outcome"] += 1
        return
    identity = identity_of(resource, full_url)
    if identity is not None:
        resource["id"] = identity
        pile.add(resource, full_url)
    elif name == "Patient":
        raise SourceError(
            "holds a Patient without an id", "Without it, this person cannot be told from others."
        )
    else:
        pile.lost[name, "no-id"] += 1


def _is_resource(value: Any) -> TypeGuard[dict[str, Any]]:
    name = value.get("resourceType") if isinstance(value, dict) else None
    return isinstance(name, str) and (name in SCOPE or _TYPE_NAME.match(name) is not None)
