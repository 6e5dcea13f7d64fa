"""Fetches what searches leave out: medications, which name no patient, and the members of panels
and reports, which some servers only give by reference."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from service.fhir.errors import Cancelled, FhirError
from service.fhir.forms import read_form
from service.fhir.http import FhirClient, Resource
from service.fhir.packed import Shelf
from service.fhir.record import Slice
from service.fhir.references import Rewriter

MOST_MEMBERS = 500
"""Members read one by one for one patient. Where more are missing, searches have failed."""
DEEPEST = 3
"""Panels of panels of panels."""

_TYPE = "Medication"


class Part(Protocol):
    slice: Slice

    def met(self, identity: str) -> bool: ...
    def targets(self, kind: str) -> set[str]: ...
    def take_read(self, identity: str, result: Resource | FhirError) -> None: ...


@dataclass(slots=True)
class Medications:
    slice: Slice
    packed: list[bytes]


def read_medications(
    client: FhirClient,
    parts: Sequence[Part],
    carried: Shelf,
    shape: Callable[[Resource], Resource],
) -> Medications | None:
    """The Medication of every `medicationReference`; None when nothing refers to one.

    `carried` holds those that came along. A medication that cannot be read makes the slice of what
    refers to it partial, too: the order is known, what was ordered is not.
    """
    wanted = {part.slice.type: part.targets(_TYPE) for part in parts}
    ids = set().union(*wanted.values())
    if not ids:
        return None
    own = Slice(_TYPE)
    for found in _read_all(client, sorted(i for i in ids if i not in carried), own):
        _keep(carried, shape(found), own)
    there = {i for i in ids if i in carried}
    own.matches = len(there)
    for part in parts:
        if wanted[part.slice.type] - there:
            part.slice.lose("medication-unread")
    if not own.queries:  # everything was included by the server
        own.queries = own.finished = 1
    return Medications(own, carried.packed(there))


def _keep(carried: Shelf, found: Resource, own: Slice) -> None:
    try:
        carried.keep(found)
    except ValueError:
        own.lose("bad-answer")


def _read_all(client: FhirClient, ids: Sequence[str], own: Slice) -> Iterator[Resource]:
    plain = Rewriter(client.server.bases)
    for identity, result in _read_each(client, _TYPE, ids):
        own.queries += 1
        own.asked.add(read_form(_TYPE))
        if isinstance(result, FhirError):
            own.failed(result)
        elif result.get("resourceType") == _TYPE and result.get("id") == identity:
            plain(result)
            own.finished += 1
            yield result
        else:
            own.lose("other-type")


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


def read_members(client: FhirClient, parts: Sequence[Part]) -> None:
    """The Observations that a panel or report points to and no search has brought. One that cannot
    be read makes the Observations partial: something was measured, and it is not here."""
    observations = next((p for p in parts if p.slice.type == "Observation"), None)
    tried: set[str] = set()
    for _ in range(DEEPEST if observations else 0):
        assert observations is not None
        wanted = set().union(*(part.targets("Observation") for part in parts))
        missing = sorted(i for i in wanted - tried if not observations.met(i))
        left = MOST_MEMBERS - len(tried)
        if len(missing) > left:
            observations.slice.cut("too-many")
        tried.update(missing[:left])
        for identity, result in _read_each(client, "Observation", missing[:left]):
            observations.take_read(identity, result)
        if not missing or len(tried) == MOST_MEMBERS:
            return
