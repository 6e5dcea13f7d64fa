"""The resources as one transaction that can be sent again and creates nothing twice."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from mappings.to_fhir.companions import url

Json = dict[str, Any]


def transaction_bundle(resources: Iterable[Json]) -> Json:
    """A transaction of conditional creates; a resource that occurs twice is sent once. Its entries
    share what they hold with the resources."""
    unique = {url(resource): resource for resource in resources}
    entries = [_entry(full_url, resource) for full_url, resource in unique.items()]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _entry(full_url: str, resource: Json) -> Json:
    body = {name: part for name, part in resource.items() if name != "id"}  # the server's to give
    request = {"method": "POST", "url": resource["resourceType"]}
    condition = _condition(resource)
    if condition:
        request["ifNoneExist"] = condition
    return {"fullUrl": full_url, "resource": body, "request": request}


def _condition(resource: Json) -> str:
    """A search by identifier. R4 gives Provenance none: it is as new as what it speaks of."""
    for identifier in resource.get("identifier", ()):
        token = f"{identifier['system']}|{identifier['value']}"
        return f"identifier={quote(token, safe=':/|.-_~')}"
    return ""
