"""Fetches what searches leave out: medications, which name no patient, and the members of panels
and reports, which some servers only give by reference."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from service.fhir.errors import Cancelled, FhirError
from service.fhir.http import FhirClient, Resource
from service.fhir.record import Slice
from service.fhir.references import reference_of, rewriter

MOST_MEMBERS = 500
"""Members read one by one for one patient. Where more are missing, searches have failed."""
DEEPEST = 3
"""Panels of panels of panels."""

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


def read_medications(
    client: FhirClient, parts: Sequence[Part], shape: Callable[[Resource], Resource]
) -> Medications | None:
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
    found = {i: shape(r) for i, r in found.items()}
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
    found = {}
    plain = rewriter(client.server.bases)
    for identity, result in _read_each(client, _TYPE, ids):
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


def _read_each(
    client: FhirClient, kind: str, ids: Sequence[str]
) -> Iterator[tuple[str, Resource | FhirError]]:
    with ThreadPoolExecutor(client.server.limits.concurrency) as pool:
        yield from zip(ids, pool.map(lambda i: _read(client, kind, i), ids), strict=True)


def _read(client: FhirClient, kind: str, identity: str) -> Resource | FhirError:
    try:
        return client.read(kind, identity).resource or {}
    except Cancelled:
        raise
    except FhirError as error:
        return error


# -- members of panels and reports -----------------------------------------------------------------


class MemberPart(Protocol):
    slice: Slice

    def met(self, identity: str) -> bool: ...
    def unsettled(self) -> list[Resource]: ...
    def take_read(self, result: Resource | FhirError) -> None: ...


_OBSERVATION = "Observation/"
_POINTING = {"Observation": "hasMember", "DiagnosticReport": "result"}


def read_members(client: FhirClient, parts: Sequence[MemberPart]) -> None:
    """The Observations that a panel or report points to and no search has brought. One that cannot
    be read makes the Observations partial: something was measured, and it is not here."""
    observations = next((p for p in parts if p.slice.type == "Observation"), None)
    tried: set[str] = set()
    for _ in range(DEEPEST if observations else 0):
        assert observations is not None
        wanted = {i for part in parts for i in _members(part)}
        missing = sorted(i for i in wanted - tried if not observations.met(i))
        left = MOST_MEMBERS - len(tried)
        if len(missing) > left:
            observations.slice.cut("too-many")
        tried.update(missing[:left])
        for _, result in _read_each(client, "Observation", missing[:left]):
            observations.take_read(result)
        if not missing or len(tried) == MOST_MEMBERS:
            return


def _members(part: MemberPart) -> Iterator[str]:
    element = _POINTING.get(part.slice.type)
    for resource in part.unsettled() if element else ():
        listed = resource.get(str(element))
        for item in listed if isinstance(listed, list) else ():
            text = reference_of({"item": item}, "item")
            if text is not None and text.startswith(_OBSERVATION):
                yield text.removeprefix(_OBSERVATION)
