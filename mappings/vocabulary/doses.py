"""Amounts of medicines: the units that say how much one dose is. No other is ever guessed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mappings.vocabulary.systems import SHORT_NAMES
from mappings.vocabulary.tables import Row, VocabularyError, read_table

DIGITS = 4  # significant; more would single a dose out, and no strength is told to more
SMALLEST, LARGEST = 1e-6, 1e6


class Dose(NamedTuple):
    value: float
    unit: str


class _Unit(NamedTuple):
    name: str
    factor: float


def _unit(line: int, row: Row) -> _Unit | None:
    """None for a unit that we know and refuse."""
    if not row["unit"]:
        return None
    if row["certainty"] == "judgement" or float(row["factor"]) <= 0:
        raise VocabularyError("dose_units.csv", line, "a factor needs a source, and is above zero")
    return _Unit(row["unit"], float(row["factor"]))


def _read() -> dict[tuple[str, str], _Unit | None]:
    found: dict[tuple[str, str], _Unit | None] = {}
    for line, row in read_table("dose_units.csv"):
        key = (row["system"], row["code"])
        if key in found:
            raise VocabularyError("dose_units.csv", line, "a unit twice")
        found[key] = _unit(line, row)
    return found


_UNITS = _read()
TEXTS = frozenset(code for system, code in _UNITS if system == "ucum")
_WRITTEN = {
    unit.name: key for key, unit in reversed(_UNITS.items()) if unit and unit.factor == 1
}  # the first row of each


def dose_units() -> tuple[str, ...]:
    """The units in which doses are told."""
    return tuple(sorted(_WRITTEN))


def coded(unit: str) -> tuple[str, str]:
    """The system, by its short name, and the code to write for a unit of doses."""
    return _WRITTEN[unit]


def dose(quantity: Mapping[str, Any]) -> Dose | None:
    """None where value and unit do not say, or contradict each other about, how much it is."""
    unit, value = _told(quantity), quantity.get("value")
    if unit is None or value is None or quantity.get("comparator"):
        return None
    amount = float(f"{value * unit.factor:.{DIGITS}g}")
    return Dose(amount, unit.name) if SMALLEST <= amount <= LARGEST else None


def _told(quantity: Mapping[str, Any]) -> _Unit | None:
    """By its code, or its text where there is none. A text of ours must not contradict the code."""
    text, code = quantity.get("unit", ""), quantity.get("code")
    by_text = _UNITS.get(("ucum", text))
    if code is None:
        return by_text
    found = _UNITS.get((SHORT_NAMES.get(quantity.get("system", ""), ""), code))
    return None if by_text is not None and by_text != found else found
