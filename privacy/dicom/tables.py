"""The attributes a policy may judge, and those that PS3.15 Table E.1-1 lists as identifying."""

import csv
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

GROUPS = frozenset({"52009229", "52009230"})
"""Shared and per-frame functional groups: of an enhanced object, what others have at the top."""


class Attribute(NamedTuple):
    tag: str
    keyword: str
    vr: str
    words: frozenset[str]  # of a code: what it may be
    absent: frozenset[str]  # what is written where nothing was given


class Listed(NamedTuple):
    """An attribute of Table E.1-1, and its action: X remove, Z empty, D replace, U new UID."""

    keyword: str
    action: str


def _rows(name: str) -> list[dict[str, str]]:
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _attributes() -> dict[str, Attribute]:
    return {
        row["keyword"]: Attribute(
            row["tag"],
            row["keyword"],
            row["vr"],
            frozenset(row["words"].split()),
            frozenset(filter(None, row["absent"].split("|"))),
        )
        for row in _rows("attributes.csv")
    }


ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType(_attributes())
PROFILE: Mapping[str, Listed] = MappingProxyType(
    {row["tag"]: Listed(row["keyword"], row["action"]) for row in _rows("profile.csv")}
)


def listed(tag: str) -> Listed | None:
    """The row of Table E.1-1; curves and overlays repeat over a range of groups."""
    found = PROFILE.get(tag)
    if found is None and tag[:2] in ("50", "60"):
        found = PROFILE.get(f"{tag[:2]}xx{tag[4:]}") or PROFILE.get(f"{tag[:2]}xxxxxx")
    return found
