"""Units: one dictionary per concept, made once. A unit that is not in it is never guessed."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from mappings.vocabulary.concept_table import concept_for, concepts
from mappings.vocabulary.doses import TEXTS
from mappings.vocabulary.systems import SHORT_NAMES
from mappings.vocabulary.tables import Row, VocabularyError, read_table

KINDS = frozenset(
    {"canonical", "ucum", "synonym", "equivalent", "molar", "special", "line", "refuse"}
)
ANY = "any"


class UnitRule(NamedTuple):
    """value in the canonical unit = value * factor + offset; `refused` where no factor is safe."""

    ucum: str
    factor: float
    offset: float
    refused: bool = False
    source: str = ""


class Converted(NamedTuple):
    """A value in the canonical unit, rounded to clinical precision; `unit` is what it came in."""

    value: float
    unit: str


class Conversion(NamedTuple):
    """value in the canonical unit = value * factor + offset, to so many decimals; `unit` is what
    it came in, unless that is the canonical one."""

    factor: float
    offset: float
    decimals: int
    unit: str


class Refused(NamedTuple):
    """Why a value cannot be used: an id of rules.csv."""

    rule: str


def _rule(line: int, row: Row) -> UnitRule:
    if row["kind"] not in KINDS:
        raise VocabularyError("units.csv", line, "unknown kind")
    if row["kind"] == "refuse":
        return UnitRule("", 0.0, 0.0, refused=True, source=row["source"])
    if row["certainty"] == "judgement" or not row["ucum"]:
        raise VocabularyError("units.csv", line, "a conversion needs a UCUM unit and a source")
    if row["kind"] == "molar" and not (row["molar_mass"] and row["molar_mass_source"]):
        raise VocabularyError("units.csv", line, "a molar conversion cites its molar mass")
    factor, offset = float(row["factor"]), float(row["offset"])
    if factor <= 0:
        raise VocabularyError("units.csv", line, "a factor is above zero: comparators keep sense")
    return UnitRule(row["ucum"], factor, offset, source=_cited(row))


def _cited(row: Row) -> str:
    """Where a conversion comes from, the molar mass in it included."""
    if not row["molar_mass"]:
        return row["source"]
    return f"molar mass {row['molar_mass']} g/mol: {row['molar_mass_source']}; {row['source']}"


def _read_units() -> dict[str, dict[str, UnitRule]]:
    found: dict[str, dict[str, UnitRule]] = {ANY: {}}
    found |= {concept.id: {} for concept in concepts()}
    for line, row in read_table("units.csv"):
        known = found.get(row["concept"])
        if known is None or row["unit"] in known:
            raise VocabularyError("units.csv", line, "no such concept, or a unit twice")
        known[row["unit"]] = _rule(line, row)
    return found


def _with_spellings(
    own: dict[str, UnitRule], spellings: dict[str, UnitRule]
) -> dict[str, UnitRule]:
    """A concept's own rows, and every general spelling of one of its units. Own rows win."""
    table = dict(own)
    for spelling, general in spellings.items():
        if spelling in table:
            continue
        target = own.get(general.ucum)
        if general.refused or target is not None:
            table[spelling] = general if target is None else target
    return table


_UNITS = _read_units()
_SPELLINGS = _UNITS.pop(ANY)
_CANONICAL = {concept.id: concept.unit for concept in concepts()}
_DECIMALS = {concept.id: concept.decimals for concept in concepts()}

for _concept, _own in _UNITS.items():
    if _own.get(_CANONICAL[_concept], UnitRule("", 0, 0))[1:3] != (1.0, 0.0):
        raise VocabularyError("units.csv", 0, f"{_concept} does not list its canonical unit")

TABLES = {name: _with_spellings(own, _SPELLINGS) for name, own in _UNITS.items()}

_KNOWN = frozenset(_SPELLINGS) | TEXTS | {unit for own in _UNITS.values() for unit in own}
_MISSING = Refused("unit-missing")
_UNKNOWN = Refused("unit-unknown")
_REFUSED = Refused("unit-refused")
_CONFLICT = Refused("unit-conflict")


def unit_rule(concept_id: str, unit: str) -> UnitRule | None:
    """How a unit of a concept is converted; None for a unit we do not know for it."""
    return TABLES[concept_id].get(unit)


def is_known_unit(text: str) -> bool:
    """Whether a string is a unit spelling of our tables (the guard for `Quantity.unit`)."""
    return text in _KNOWN


def unit_spellings() -> frozenset[str]:
    """Every spelling of a unit that our tables list."""
    return _KNOWN


def clinical_decimals(
    codes: Sequence[Mapping[str, Any]], quantity: Mapping[str, Any]
) -> int | None:
    """To how many decimals a value under these codes means anything in the unit it stands in.

    Negative: to tens, hundreds and so on. None where no code or no unit of theirs is known.
    """
    for coding in codes:
        rule = concept_for(coding.get("system", ""), coding.get("code", ""))
        if rule is not None and rule.concept in TABLES:
            return _decimals_in(rule.concept, quantity.get("code"), quantity.get("unit"))
    return None


@lru_cache(maxsize=2**14)
def _decimals_in(concept_id: str, code: str | None, unit: str | None) -> int | None:
    """One step of the concept's precision, in this unit, is not smaller than one of ours."""
    table = TABLES[concept_id]
    found = table.get(code or "") or table.get(unit or "")
    if found is None or found.refused:
        return None
    return math.ceil(_DECIMALS[concept_id] + math.log10(found.factor) - 1e-9)


def _read_labels() -> dict[str, str]:
    found: dict[str, str] = {}
    for line, row in read_table("unit_labels.csv"):
        if row["ucum"] in found or ("{" in row["label"] or "[" in row["label"]):
            raise VocabularyError("unit_labels.csv", line, "a unit twice, or UCUM for a label")
        found[row["ucum"]] = row["label"]
    return found


_LABELS = _read_labels()


def unit_label(ucum: str) -> str:
    """A UCUM unit as people write it; most are written alike."""
    return _LABELS.get(ucum, ucum)


def convert(
    concept_id: str, value: float, unit_code: str, unit_text: str, system: str
) -> Converted | Refused:
    """A value in the concept's canonical unit, or the rule that sets it aside."""
    found = conversion(concept_id, unit_code, unit_text, system)
    if isinstance(found, Refused):
        return found
    factor, offset, decimals, unit = found
    return Converted(round(value * factor + offset, decimals), unit)


@lru_cache(maxsize=2**14)
def conversion(
    concept_id: str, unit_code: str, unit_text: str, system: str
) -> Conversion | Refused:
    """How a value is converted, or the rule that sets it aside.

    The code counts when its system is UCUM or none is given; otherwise the text stands alone. Where
    both are known and convert differently, neither is believed.

    Kept: a record has a few dozen such questions and thousands of values, and a de-identified one
    holds only units of our tables.
    """
    table = TABLES[concept_id]
    code = unit_code if not system or SHORT_NAMES.get(system) == "ucum" else ""
    rule = table.get(code) if code else None
    arrived = code
    if unit_text and unit_text != code:
        by_text = table.get(unit_text)
        if rule is None:
            rule, arrived = by_text, unit_text
        elif by_text is not None and by_text[1:4] != rule[1:4]:
            return _CONFLICT
    if rule is None:
        return _UNKNOWN if code or unit_text else _MISSING
    if rule.refused:
        return _REFUSED
    told = "" if arrived == _CANONICAL[concept_id] else arrived
    return Conversion(rule.factor, rule.offset, _DECIMALS[concept_id], told)
