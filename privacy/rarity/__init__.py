"""Rare diagnosis codes and their parents, as data."""

import csv
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import NamedTuple

# Every spelling of the systems of the table. ICD-10-CM shares the categories of ICD-10.
SYSTEMS: Mapping[str, str] = {
    "http://snomed.info/sct": "snomed",
    "urn:oid:2.16.840.1.113883.6.96": "snomed",
    "http://hl7.org/fhir/sid/icd-10": "icd10",
    "urn:oid:2.16.840.1.113883.6.3": "icd10",
    "http://hl7.org/fhir/sid/icd-10-cm": "icd10",
    "urn:oid:2.16.840.1.113883.6.90": "icd10",
}


class Rare(NamedTuple):
    """One row: a code, or a prefix of codes, and what it becomes."""

    system: str
    match: str
    code: str
    label: str
    parent: str
    parent_label: str
    rarity: str
    source: str


def _load() -> Iterator[Rare]:
    text = (files(__name__) / "rare.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines(), strict=True):
        yield Rare(*row.values())


RARE: tuple[Rare, ...] = tuple(_load())
_BY_CODE = {(row.system, row.code): row.parent for row in RARE}
_LONGEST = max(len(row.code) for row in RARE if row.match == "prefix")


def parent_of(system: str, code: str) -> str | None:
    """What a rare code becomes in its own system; None for a code that is not listed."""
    name = SYSTEMS.get(system)
    if name == "snomed":
        return _BY_CODE.get((name, code))
    if name is None:
        return None
    found = (_BY_CODE.get((name, code[:end])) for end in range(1, _LONGEST + 1))
    return next((parent for parent in found if parent), None)
