"""One of each is left: the first stays, what refers to the others is pointed at it, they go.

Duplicates come from a condition that raced on the server, and from requests that a server carried
out long after we had given them up. Every step here can be repeated after a death in the middle:
nothing is withdrawn while a result of ours still refers to it.
"""

from collections.abc import Mapping, Sequence

from service.fhir.errors import BadAnswer, Refused, TransportError
from service.fhir.http import FhirClient, Resource
from service.fhir.look import WITHDRAWN, Found
from service.fhir.references import rewrite
from service.fhir.wanted import Wanted, resolved

There = Sequence[tuple[Wanted, list[Found]]]

# A Provenance has no status. Where it may not be deleted, its activity says that it is void.
NULLIFY: Resource = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
            "code": "NULLIFY",
            "display": "nullify",
        }
    ]
}


def clear(client: FhirClient, there: There, retired: list[str]) -> int:
    """How many duplicates are left. `retired` takes up those that are not."""
    surplus = [(wanted, found[0], found[1:]) for wanted, found in there if _is_crowded(found)]
    moved = {other.reference: kept.reference for _, kept, others in surplus for other in others}
    if not moved:
        return 0
    relinked = all(_relink(client, wanted, found[0], moved) for wanted, found in there)
    left = 0
    for wanted, _, others in surplus:
        for other in others:
            if (relinked or not wanted.is_companion) and _retire(client, wanted, other):
                retired.append(other.reference)
            else:
                left += 1
    return left


def _is_crowded(found: list[Found]) -> bool:
    """Among withdrawn ones there is nothing left to choose."""
    return len(found) > 1 and not found[0].withdrawn


def _relink(client: FhirClient, wanted: Wanted, kept: Found, moved: Mapping[str, str]) -> bool:
    """What a person accepted keeps its references, and they keep what they refer to."""
    changed = resolved(Wanted(wanted.url, wanted.type, kept.resource, None), {}, ())
    rewrite(changed, moved.get)
    if changed == kept.resource:
        return True
    return not kept.accepted and _put(client, kept, changed)


def _retire(client: FhirClient, wanted: Wanted, duplicate: Found) -> bool:
    """Mark a duplicate entered-in-error. What a person accepted is never touched."""
    if duplicate.accepted:
        return False
    if wanted.identifier is not None:
        return _put(client, duplicate, duplicate.resource | {"status": WITHDRAWN})
    return _delete(client, duplicate) or _put(
        client, duplicate, duplicate.resource | {"activity": NULLIFY}
    )


def _put(client: FhirClient, found: Found, body: Resource) -> bool:
    version = (found.resource.get("meta") or {}).get("versionId")
    condition = {"If-Match": f'W/"{version}"'} if version else {}
    return _attempt(client, "PUT", found, body, condition)


def _delete(client: FhirClient, found: Found) -> bool:
    return _attempt(client, "DELETE", found, None, {})


def _attempt(
    client: FhirClient,
    method: str,
    found: Found,
    body: Resource | None,
    condition: dict[str, str],
) -> bool:
    kind, identity = found.reference.split("/", 1)
    try:
        client.write(method, (kind, identity), body, condition=condition)
    except (Refused, BadAnswer, TransportError):
        return False
    return True
