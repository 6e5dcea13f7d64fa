"""What is asked for, and the two ways of asking: GET with commas, POST with Parameters.

Version 4 of the guide takes POST with repeated parameters alone; earlier ones must take GET. Which
one a server speaks is read from the versions it states, from its own OperationDefinition, or tried.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

import orjson

from service.fhir.capability import Capability
from service.fhir.errors import (
    BadAnswer,
    FhirError,
    Forbidden,
    Invalid,
    NotFhir,
    NotFound,
    NotSupported,
    Refused,
    Throttled,
    Unprocessable,
)
from service.fhir.http import FHIR_JSON, FhirClient, refusal, resource_of
from service.fhir.origin import resolve_link
from service.fhir.retry import pause_before
from service.fhir.wire import RawAnswer

LEARNED = "bulk"
"""Begins the words for the form of an order that a server took."""
CODES = {"system": "export", "patient": "patient-export", "group": "group-export"}
_BUSY = frozenset({429, 503})


class Dialect(StrEnum):
    GET = "get"
    POST = "post"


@dataclass(frozen=True, slots=True)
class Order:
    """One export as it is asked for. Names no patient."""

    level: str
    group: str = ""
    types: tuple[str, ...] = ()
    """Empty: whatever the server exports"""
    since: str = ""
    partial: bool = False

    @property
    def what(self) -> str:
        place = {"system": "", "patient": "Patient/", "group": "Group/{id}/"}[self.level]
        return f"{place}$export"

    @property
    def form(self) -> str:
        """What was asked, without any value."""
        given = {"_type": self.types, "_since": self.since, "allowPartialManifests": self.partial}
        names = "&".join(name for name, value in given.items() if value)
        return f"{self.what}?{names}" if names else self.what


@dataclass(frozen=True, slots=True)
class Started:
    status_url: str
    order: Order
    """What was asked in the end"""
    dialect: Dialect


def start(
    client: FhirClient, order: Order, dialect: str, able: Capability, learned: set[str]
) -> Started:
    """Ask, in one dialect and then in the other, with all parameters and then with fewer; first in
    the form that this server took before. `learned`: the words of `pulling.learning`."""
    first: Refused | None = None
    spoken = _dialects(client, order, dialect, able)
    hopeless: set[Dialect] = set()
    for chosen, asked in _as_learned(list(_attempts(order, spoken)), learned):
        if chosen in hopeless:
            continue
        answer = _send(client, asked, chosen)
        if answer.status == 202:
            _learn(learned, chosen, order, asked)
            return Started(_status_url(client, answer, asked), asked, chosen)
        error = refusal(f"{chosen.upper()} {asked.what}", answer.status, resource_of(answer), {})
        first = first or error
        if isinstance(error, NotSupported | NotFound):
            hopeless.add(chosen)
        elif not isinstance(error, Invalid | Unprocessable):
            raise _advised(error, order)
    assert first is not None
    raise _advised(first, order)


def _attempts(order: Order, dialects: list[Dialect]) -> Iterator[tuple[Dialect, Order]]:
    for dialect in dialects:
        yield dialect, order
        if order.partial:
            yield dialect, replace(order, partial=False)
        if order.types:
            yield dialect, replace(order, partial=False, types=())


def _word(dialect: Dialect, order: Order, asked: Order) -> str:
    """A form, in a word that says nothing of what was ordered."""
    left_out = {
        "no-types": order.types and not asked.types,
        "no-partial": order.partial and not asked.partial,
    }
    return ":".join((LEARNED, dialect, *(word for word, is_so in left_out.items() if is_so)))


def _as_learned(
    attempts: list[tuple[Dialect, Order]], learned: set[str]
) -> list[tuple[Dialect, Order]]:
    """The form that worked comes first; the others are tried where it no longer does."""
    order = attempts[0][1]
    return sorted(attempts, key=lambda one: _word(one[0], order, one[1]) not in learned)


def _learn(learned: set[str], dialect: Dialect, order: Order, asked: Order) -> None:
    learned -= {word for word in learned if word.startswith(f"{LEARNED}:")}
    learned.add(_word(dialect, order, asked))


# -- which dialect ---------------------------------------------------------------------------------


def _dialects(client: FhirClient, order: Order, configured: str, able: Capability) -> list[Dialect]:
    if configured != "auto":
        return [Dialect(configured)]
    if _major(stated_version(client, order.level, able)) >= 4:
        return [Dialect.POST, Dialect.GET]
    return [Dialect.GET, Dialect.POST]


def stated_version(client: FhirClient, level: str, able: Capability) -> str:
    """Of the Bulk Data guide, as far as the server says; empty where it does not."""
    definition = able.exports.get(level, "")
    for text in (definition, *able.instantiates):
        url, _, version = text.partition("|")
        if "/bulkdata/" in url and version:
            return version
    return _version_of_definition(client, definition)


def _version_of_definition(client: FhirClient, definition: str) -> str:
    """Where the definition is a resource of this very server, it states its version itself."""
    relative = definition.removeprefix(f"{client.server.base_url}/")
    match = re.fullmatch(r"OperationDefinition/([A-Za-z0-9.-]{1,64})", relative)
    if match is None:
        return ""
    try:
        found = client.read("OperationDefinition", match[1]).resource or {}
    except (Refused, BadAnswer):
        return ""
    version = found.get("version")
    return version if isinstance(version, str) else ""


def _major(version: str) -> int:
    head = re.match(r"\d{1,3}", version)
    return int(head[0]) if head else 0


# -- asking ----------------------------------------------------------------------------------------


def _send(client: FhirClient, order: Order, dialect: Dialect) -> RawAnswer:
    """Again only where the server certainly began nothing: two exports are one too many."""
    limits = client.server.limits
    url, body = _request(client, order, dialect)
    headers = {"Accept": FHIR_JSON, "Prefer": "respond-async"}
    if body is not None:
        headers["Content-Type"] = FHIR_JSON
    what = f"{dialect.upper()} {order.what}"
    for attempt in range(1, limits.tries + 1):
        answer = client.once(dialect.upper(), url, headers, body, what)
        if answer.status not in _BUSY or attempt == limits.tries:
            break
        pause = pause_before(attempt, answer.headers.get("Retry-After"), limits)
        client.clock.wait(pause, what)
    return answer


def _request(client: FhirClient, order: Order, dialect: Dialect) -> tuple[str, bytes | None]:
    places = {"system": (), "patient": ("Patient",), "group": ("Group", order.group)}
    url = f"{client.url(*places[order.level])}/$export"
    if dialect is Dialect.POST:
        return url, orjson.dumps(parameters(order))
    pairs = [("_type", ",".join(order.types)), ("_since", order.since)]
    pairs += [("allowPartialManifests", "true")] if order.partial else []
    query = urlencode([(name, value) for name, value in pairs if value], safe=",:")
    return f"{url}?{query}" if query else url, None


def parameters(order: Order) -> dict[str, Any]:
    listed: list[dict[str, Any]] = [{"name": "_type", "valueString": t} for t in order.types]
    if order.since:
        listed.append({"name": "_since", "valueInstant": order.since})
    if order.partial:
        listed.append({"name": "allowPartialManifests", "valueBoolean": True})
    return {"resourceType": "Parameters", **({"parameter": listed} if listed else {})}


def _status_url(client: FhirClient, answer: RawAnswer, order: Order) -> str:
    location = answer.headers.get("Content-Location", "")
    what = f"Content-Location of {order.what}"
    if not location:
        raise NotFhir(what, next_step="It was accepted, but not said where to ask after it.")
    return resolve_link(location, answer.url, client.server.origins, what)


# -- refusals in plain words -----------------------------------------------------------------------

_ADVICE: Mapping[type[FhirError], str] = {
    Forbidden: "Ask its operator for bulk export: the operation itself, `read` scopes for every "
    "type (`system/TYPE.rs`), and the group.",
    NotFound: "There is no such group, or no export at this level: see `twinport server check`, "
    "set `bulk.level` and `bulk.group`; the operator gives out the ids of groups.",
    NotSupported: "This server does not export at this level: see `twinport server check`, and set "
    "`bulk.level`.",
    Throttled: "An export of this client is under way there. Wait for it, or have it ended; some "
    "servers free the place only when it is deleted (`twinport bulk cancel`).",
    Invalid: "It refuses our parameters in either dialect; set `bulk.types`, or `bulk.dialect`.",
    Unprocessable: "It refuses our parameters; set `bulk.types`, or `bulk.dialect`.",
}


def _advised(error: Refused, order: Order) -> Refused:
    step = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
    return type(error)(
        order.what, status=error.status, issues=error.issues, next_step=step or error.next_step
    )
