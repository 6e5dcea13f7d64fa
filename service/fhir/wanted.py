"""The resources to be written, and how they refer to one another before they exist."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from service.fhir.errors import SetupError

Resource = dict[str, Any]

# Companions accompany a result; the result is worth writing where the server does not take them.
COMPANIONS = frozenset({"Device", "Provenance"})
_ORDER: Mapping[str, int] = {"Device": 1, "Provenance": 3}
_CARD = "AIModelCard"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One resource that shall exist exactly once."""

    url: str
    """`urn:uuid:…`: its name while it has no id."""
    type: str
    body: Resource
    identifier: tuple[str, str] | None

    @property
    def is_companion(self) -> bool:
        """It accompanies a result, as does the card of its model."""
        codings = (self.body.get("type") or {}).get("coding", ()) if self._may_be_card else ()
        return self.type in COMPANIONS or any(c.get("code") == _CARD for c in codings)

    @property
    def _may_be_card(self) -> bool:
        return self.type == "DocumentReference"

    @property
    def rank(self) -> int:
        """The order of writing: what is referred to first."""
        if self._may_be_card and self.is_companion:
            return 0
        return _ORDER.get(self.type, 2)

    @property
    def own_id(self) -> str:
        """The same id each time, for servers that let a client choose."""
        assert self.identifier is not None
        return str(uuid.uuid5(uuid.NAMESPACE_URL, "|".join(self.identifier)))

    @property
    def condition(self) -> str:
        """As the search that finds it."""
        assert self.identifier is not None
        system, value = (quote(escaped(part), safe=":/.-_~") for part in self.identifier)
        return f"identifier={system}|{value}"


def wanted_from(resources: Iterable[Resource]) -> list[Wanted]:
    """Resources named by their `id` (a UUID), or entries of a Bundle named by their `fullUrl`.

    In the order in which they can be written: what is referred to first.
    """
    entries = [entry for item in resources for entry in _entries(item)]
    found = [_wanted(url, resource) for url, resource in entries]
    return sorted(found, key=lambda w: w.rank)


def _entries(item: Resource) -> list[tuple[str, Resource]]:
    if item.get("resourceType") != "Bundle":
        return [(f"urn:uuid:{item.get('id', '')}", item)]
    return [(str(e.get("fullUrl", "")), e["resource"]) for e in item.get("entry", [])]


def _wanted(url: str, resource: Resource) -> Wanted:
    kind = resource["resourceType"]
    identifier = _identifier(resource)
    if identifier is None and kind != "Provenance":
        raise SetupError(f"write {kind}", next_step="It needs an identifier to be written once.")
    body = {k: v for k, v in resource.items() if k != "id"}
    return Wanted(url, kind, body, identifier)


def first_target(provenance: Wanted) -> str:
    """What a Provenance speaks of, as the set names it."""
    targets = provenance.body.get("target") or [{}]
    return str(targets[0].get("reference", ""))


def escaped(text: str) -> str:
    """As FHIR escapes the separators of a token search."""
    for character in ("\\", "|", "$", ","):
        text = text.replace(character, f"\\{character}")
    return text


def _identifier(resource: Resource) -> tuple[str, str] | None:
    for item in resource.get("identifier", ()):
        if item.get("system") and item.get("value"):
            return item["system"], item["value"]
    return None


def resolved(wanted: Wanted, known: Mapping[str, str], others: Iterable[Wanted]) -> Resource:
    """Its body with references to those already on the server, the others by identifier.

    `known` maps urn:uuid to `Type/id`. What is in neither stays: a transaction resolves it.
    """
    logical = {o.url: o for o in others if o.identifier is not None}
    body: Resource = _copied(wanted.body, known, logical)
    return body


def _copied(node: Any, known: Mapping[str, str], logical: Mapping[str, Wanted]) -> Any:
    if isinstance(node, dict):
        copy = {  # most are strings, and need no call
            name: value if type(value) is str else _copied(value, known, logical)
            for name, value in node.items()
        }
        if "reference" in copy:
            _resolve(copy, known, logical)
        return copy
    return [_copied(item, known, logical) for item in node] if isinstance(node, list) else node


def _resolve(node: Resource, known: Mapping[str, str], logical: Mapping[str, Wanted]) -> None:
    text = node.get("reference")
    if not isinstance(text, str):
        return
    if text in known:
        node["reference"] = known[text]
    elif text in logical:
        target = logical[text]
        assert target.identifier is not None
        system, value = target.identifier
        del node["reference"]
        node |= {"type": target.type, "identifier": {"system": system, "value": value}}
