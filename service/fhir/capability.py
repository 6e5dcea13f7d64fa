"""What a server says it can do. Read with tolerance: many statements are incomplete or wrong."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any

import orjson

from service.fhir.errors import BadAnswer, Refused
from service.fhir.http import FhirClient


@dataclass(frozen=True, slots=True)
class TypeCapability:
    interactions: frozenset[str] = frozenset()
    search_params: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    includes: frozenset[str] = frozenset()
    conditional_create: bool = False
    conditional_update: bool = False
    update_create: bool = False


@dataclass(frozen=True)
class Capability:
    """`stated` False: no usable statement, so nothing is ruled out and nothing promised."""

    stated: bool = False
    fhir_version: str = ""
    software: str = ""
    types: dict[str, TypeCapability] = field(default_factory=dict)
    interactions: frozenset[str] = frozenset()
    exports: Mapping[str, str] = field(default_factory=dict)
    """Level (`system`, `patient`, `group`) → definition of its Bulk Data export"""
    instantiates: tuple[str, ...] = ()
    not_exported: frozenset[str] = frozenset()
    """Types that the server says it leaves out of exports"""

    @cached_property
    def digest(self) -> str:
        """Of what is stated, less what changes with every answer (dates, counts)."""
        stated = (
            self.fhir_version,
            self.software,
            sorted(self.interactions),
            [(name, _spelled(row)) for name, row in sorted(self.types.items())],
        )
        return hashlib.sha256(orjson.dumps(stated)).hexdigest()

    def of(self, kind: str) -> TypeCapability:
        return self.types.get(kind, TypeCapability())

    def can(self, kind: str, interaction: str) -> bool:
        """Whether trying makes sense. A type listed without interactions is tried."""
        if not self.stated:
            return True
        listed = self.types.get(kind)
        return listed is not None and (
            not listed.interactions or interaction in listed.interactions
        )

    def can_include(self, value: str) -> bool:
        """Only what is listed: an `_include` not understood may cost the whole search."""
        listed = self.of(value.split(":")[0]).includes
        return value in listed or "*" in listed

    @property
    def transaction(self) -> bool:
        return "transaction" in self.interactions

    @property
    def everything(self) -> bool:
        return "everything" in self.of("Patient").operations


def _spelled(row: TypeCapability) -> list[object]:
    values = [getattr(row, field.name) for field in fields(row)]
    return [sorted(v) if isinstance(v, frozenset) else v for v in values]


def read_capability(client: FhirClient) -> Capability:
    """The server's statement; an empty one where it has none or hides it."""
    try:
        answer = client.metadata()
    except (Refused, BadAnswer):
        return Capability()
    return _parsed(orjson.dumps(answer.resource))


@lru_cache(maxsize=32)  # a server states the same for a long time
def _parsed(statement: bytes) -> Capability:
    return parse_capability(orjson.loads(statement))


def parse_capability(statement: Any) -> Capability:
    if not isinstance(statement, dict):
        return Capability()
    rest = next(
        (r for r in _dicts(statement.get("rest")) if r.get("mode", "server") == "server"), None
    )
    if statement.get("resourceType") != "CapabilityStatement" or rest is None:
        return Capability()
    listed = {_text(row.get("type")): _type(row) for row in _dicts(rest.get("resource"))}
    return Capability(
        stated=bool(listed),
        fhir_version=_text(statement.get("fhirVersion")),
        software=_software(statement.get("software")),
        types=listed,
        interactions=_names(rest.get("interaction"), "code"),
        exports=_exports(rest),
        instantiates=tuple(_texts(statement.get("instantiates"))),
        not_exported=frozenset(_without_export(rest)),
    )


def _software(told: Any) -> str:
    named = told if isinstance(told, dict) else {}
    return f"{_text(named.get('name'))} {_text(named.get('version'))}".strip()


def _exports(rest: dict[str, Any]) -> dict[str, str]:
    """Where `export` is among the operations. A level is where it is listed, and what it is
    defined as: `group-export` is the group's, wherever a server lists it."""
    rows = [("system", rest)]
    rows += [(_text(row.get("type")).lower(), row) for row in _dicts(rest.get("resource"))]
    found = {}
    for place, row in rows:
        for operation in _dicts(row.get("operation")):
            name = _text(operation.get("name")).lstrip("$")
            if name in _EXPORTS:
                found[_EXPORTS[name] or place] = _text(operation.get("definition"))
    return {level: definition for level, definition in found.items() if level in _LEVELS}


_LEVELS = frozenset({"system", "patient", "group"})
_EXPORTS = {"export": "", "patient-export": "patient", "group-export": "group"}
# http://hl7.org/fhir/uv/bulkdata/STU3: "not available in bulk", on a type
_NOT_IN_BULK = "http://hl7.org/fhir/uv/bulkdata/Extension/operation-not-supported"


def _without_export(rest: dict[str, Any]) -> Iterator[str]:
    for row in _dicts(rest.get("resource")):
        if any(e.get("url") == _NOT_IN_BULK for e in _dicts(row.get("extension"))):
            yield _text(row.get("type"))


def _type(row: dict[str, Any]) -> TypeCapability:
    return TypeCapability(
        interactions=_names(row.get("interaction"), "code"),
        search_params=_names(row.get("searchParam"), "name"),
        operations=frozenset(n.lstrip("$") for n in _names(row.get("operation"), "name")),
        includes=frozenset(_texts(row.get("searchInclude"))),
        conditional_create=row.get("conditionalCreate") is True,
        conditional_update=row.get("conditionalUpdate") is True,
        update_create=row.get("updateCreate") is True,
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _names(value: Any, key: str) -> frozenset[str]:
    return frozenset(_text(row.get(key)) for row in _dicts(value)) - {""}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
