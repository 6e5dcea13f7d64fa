"""Fetches what a patient search leaves out because it does not name the patient: medications."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from service.fhir.errors import Cancelled, FhirError
from service.fhir.http import FhirClient, Resource
from service.fhir.record import Slice
from service.fhir.references import reference_of, rewriter

_TYPE = "Medication"
_PREFIX = f"{_TYPE}/"


class Part(Protocol):
    slice: Slice
    kept: list[Resource]
    carried: list[Resource]


@dataclass(slots=True)
class Medications:
    slice: Slice
    resources: list[Resource]


def read_medications(client: FhirClient, parts: Sequence[Part]) -> Medications | None:
    """The Medication of every `medicationReference`; None when nothing refers to one.

    A medication that cannot be read makes the slice of what refers to it partial, too: the order is
    known, what was ordered is not.
    """
    wanted = {name: _references(part) for part in parts if (name := part.slice.type)}
    ids = sorted(set().union(*wanted.values()))
    if not ids:
        return None
    have = {r["id"]: r for part in parts for r in part.carried if r["resourceType"] == _TYPE}
    own = Slice(_TYPE)
    found = {i: r for i in ids if (r := have.get(i)) is not None}
    found |= _read_all(client, [i for i in ids if i not in have], own)
    own.matches = len(found)
    for part in parts:
        if wanted[part.slice.type] - found.keys():
            part.slice.lose("medication-unread")
    if not own.queries:  # everything was included by the server
        own.queries = own.finished = 1
    return Medications(own, [found[i] for i in sorted(found)])


def _references(part: Part) -> set[str]:
    found = (reference_of(resource, "medicationReference") for resource in part.kept)
    return {text.removeprefix(_PREFIX) for text in found if text and text.startswith(_PREFIX)}


def _read_all(client: FhirClient, ids: list[str], own: Slice) -> dict[str, Resource]:
    with ThreadPoolExecutor(client.server.limits.concurrency) as pool:
        outcomes = list(pool.map(lambda identity: _read(client, identity), ids))
    found = {}
    plain = rewriter(client.server.bases)
    for identity, result in zip(ids, outcomes, strict=True):
        own.queries += 1
        if isinstance(result, FhirError):
            own.failed(result)
        elif result.get("resourceType") == _TYPE and result.get("id") == identity:
            plain(result)
            own.finished += 1
            found[identity] = result
        else:
            own.lose("other-type")
    return found


def _read(client: FhirClient, identity: str) -> Resource | FhirError:
    try:
        return client.read(_TYPE, identity).resource or {}
    except Cancelled:
        raise
    except FhirError as error:
        return error
