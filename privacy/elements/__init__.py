"""Every element of the R4 resource types in scope, as published: what a policy must judge."""

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

# Quantity under another name: the constraint changes no element.
QUANTITIES = frozenset({"Quantity", "Age", "Duration", "Count", "Distance", "SimpleQuantity"})


class Element(NamedTuple):
    """One JSON key of one type; a choice element is one row per type it may take."""

    type: str
    is_list: bool
    is_modifier: bool
    codes: frozenset[str]


def table(name: str) -> Iterator[dict[str, str]]:
    text = (files(__name__) / name).read_text(encoding="utf-8")
    return iter(csv.DictReader(text.splitlines()))


def _declared() -> dict[str, dict[str, Element]]:
    found: dict[str, dict[str, Element]] = {}
    for row in table("r4.csv"):
        codes = frozenset(row["codes"].split())
        element = Element(row["type"], bool(row["list"]), bool(row["modifier"]), codes)
        found.setdefault(row["owner"], {})[row["key"]] = element
    return found


_DECLARED = _declared()
BASES: Mapping[str, str] = MappingProxyType({r["owner"]: r["base"] for r in table("owners.csv")})
RESOURCE_TYPES = frozenset(row["type"] for row in table("resource_types.csv"))
IN_SCOPE = frozenset(owner for owner, base in BASES.items() if base == "DomainResource")
KNOWN_EXTENSIONS: Mapping[str, str] = MappingProxyType(
    {row["url"]: row["name"] for row in table("extensions.csv")}
)

# What R4 requires of each owner; of a choice, one of several keys.
REQUIRED: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        owner: tuple(tuple(r["keys"].split()) for r in table("required.csv") if r["owner"] == owner)
        for owner in BASES
    }
)
SECURITY_LABELS = frozenset((row["system"], row["code"]) for row in table("labels.csv"))


def lineage(owner: str) -> tuple[str, ...]:
    """The owner and the types it inherits from, nearest first."""
    chain = [owner]
    while BASES.get(chain[-1]):
        chain.append(BASES[chain[-1]])
    return tuple(chain)


@cache
def elements_of(owner: str) -> Mapping[str, Element]:
    """All keys a JSON object of this type or backbone may have, inherited ones included."""
    merged: dict[str, Element] = {}
    for name in reversed(lineage(owner)):
        merged |= _DECLARED.get(name, {})
    return MappingProxyType(merged)


def owner_of(owner: str, key: str, element: Element) -> str:
    """Which owner lists the keys below an element: its backbone, or its datatype."""
    if element.type.startswith("@"):
        return element.type[1:]
    backbone = f"{owner}.{key}"
    if backbone in BASES:
        return backbone
    return "Quantity" if element.type in QUANTITIES else element.type
