"""How one vendor's server differs from the plain R4 server underneath: the only place for it.

A persona overrides the hooks it needs; each hook gets what the plain server would do and returns
what this vendor does (or refuses by raising FhirError). `Settings` are switches that need no code.
"""

from dataclasses import dataclass
from typing import Any

from flask import Response

from service.sandbox.search import Query
from service.sandbox.store import Resource


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
    bearer_token: str | None = None
    """When set, everything but /metadata needs `Authorization: Bearer <this>`."""


class Persona:
    """The plain, well-behaved R4 server; the base of every vendor persona."""

    name = "plain"

    def settings(self, given: Settings) -> Settings:
        return given

    def capability(self, statement: dict[str, Any]) -> dict[str, Any]:
        return statement

    def search(self, query: Query) -> Query:
        """Called before a search runs."""
        return query

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        """Called with every page of a search before it is sent."""
        return bundle

    def create(self, kind: str, resource: Resource) -> Resource:
        """Called before a create, also inside a batch or transaction."""
        return resource

    def update(self, kind: str, resource: Resource) -> Resource:
        """Called before an update."""
        return resource

    def respond(self, response: Response) -> Response:
        """Called last, with every response, errors included."""
        return response
