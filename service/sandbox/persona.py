"""How one vendor's server differs from the plain R4 server underneath: the only place for it.

A persona overrides the hooks it needs; each hook gets what the plain server would do and returns
what this vendor does (or refuses by raising FhirError). `Settings` are switches that need no code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Request, Response

from service.sandbox.errors import FhirError, outcome_of
from service.sandbox.export.manners import Manners
from service.sandbox.search import Query
from service.sandbox.store import Resource

Pairs = list[tuple[str, str]]

# One letter per interaction, as in a SMART scope.
INTERACTIONS: Mapping[str, Sequence[str]] = {
    "c": ("create",),
    "r": ("read",),
    "u": ("update",),
    "s": ("search-type",),
}


@dataclass(frozen=True)
class Settings:
    """Behaviour that differs between real servers and can simply be switched."""

    default_count: int = 50
    max_count: int = 1000
    page_lifetime_seconds: float = 600.0
    max_open_searches: int = 500
    max_body_bytes: int = 20_000_000
    strict_search: bool = False
    update_as_create: bool = False
    conditional_create: bool = True
    conditional_update: bool = True
    transactions: bool = True
    everything: bool = True
    check_references: bool = True
    stale_version_status: int = 412
    """What answers an If-Match that is out of date."""
    search_lag_seconds: float = 0.0
    """How long a write is missing from searches."""
    bearer_token: str | None = None
    """When set, everything but /metadata needs `Authorization: Bearer <this>`."""


class Persona:
    """The plain, well-behaved R4 server; the base of every vendor persona."""

    name = "plain"
    prefix = "/fhir"
    """The path of the FHIR base."""
    page_parameter = "_page"
    offers: Mapping[str, str] | None = None
    """Type -> letters of INTERACTIONS. None: every type, every interaction."""
    exports = Manners()
    """How it exports in bulk."""

    def settings(self, given: Settings) -> Settings:
        return given

    def intercept(self, request: Request) -> Response | None:
        """Called first, after sign-in; a response here is the answer."""
        return None

    def allow(self, kind: str, letter: str) -> None:
        """Refuse an interaction that is not offered."""
        if self.offers is None:
            return
        if kind not in self.offers:
            raise FhirError(404, "not-supported", "this server does not hold that resource type")
        if letter not in self.offers[kind]:
            raise FhirError(405, "not-supported", "this server does not offer that interaction")

    def capability(self, statement: dict[str, Any]) -> dict[str, Any]:
        """The statement, made for every type, cut down to what is offered."""
        if self.offers is None:
            return statement
        rest = statement["rest"][0]
        rows = [row for row in rest["resource"] if row["type"] in self.offers]
        for row in rows:
            letters = self.offers[row["type"]]
            row["interaction"] = [{"code": c} for i in letters for c in INTERACTIONS[i]]
        rest["resource"] = rows
        return statement

    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        """The parameters of a search, before they are read."""
        return pairs

    def posted(self, query: Pairs, form: Pairs) -> Pairs:
        """The parameters of a `POST _search`, from its URL and from its body."""
        return query + form

    def search(self, query: Query) -> Query:
        """Called before a search runs."""
        return query

    def lags(self, query: Query) -> bool:
        """Whether this search may miss what was just written, where searches lag at all."""
        return True

    def next_link(self, base: str, query: Query, token: str) -> str:
        return f"{base}?{urlencode([(self.page_parameter, token)])}"

    def token(self, given: str) -> str:
        """The token as `next_link` was given it, from the value in the URL."""
        return given

    def expired(self) -> FhirError:
        """The refusal of a page whose search is forgotten."""
        return FhirError(410, "not-found", "this search has expired; start it again")

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        """Called with every page of a search before it is sent."""
        return bundle

    def version(self, number: int) -> str:
        """The versionId of the n-th version of a resource."""
        return str(number)

    def create(self, kind: str, resource: Resource) -> Resource:
        """Called before a create, also inside a batch or transaction."""
        return resource

    def condition(self, query: str) -> None:
        """Called with the condition of a conditional write."""

    def transaction(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Called with the entries of a batch or transaction."""

    def update(self, kind: str, resource: Resource) -> Resource:
        """Called before an update."""
        return resource

    def error(self, error: FhirError) -> dict[str, Any]:
        """The body of a refusal."""
        return outcome_of(error)

    def respond(self, response: Response) -> Response:
        """Called last, with every response, errors included."""
        return response
