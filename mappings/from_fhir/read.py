"""Reading the leaves of a record: codes as (system, code), times as (offset, precision)."""

from typing import Any

from mappings.vocabulary.systems import SHORT_NAMES

Moment = tuple[int | None, str]

NO_MOMENT: Moment = (None, "day")


def codes(codeable: Any) -> list[tuple[str, str]]:
    """The codings of a CodeableConcept (or of one Coding) in systems we know, by short name."""
    if not codeable:
        return []
    codings = codeable.get("coding") if "coding" in codeable else (codeable,)
    return [
        (SHORT_NAMES[coding["system"]], coding["code"])
        for coding in codings or ()
        if "code" in coding and coding.get("system") in SHORT_NAMES
    ]


def code_in(codeable: Any, system: str) -> str:
    """The code of a CodeableConcept in one system; empty when it has none."""
    return next((code for name, code in codes(codeable) if name == system), "")


def moment(leaf: Any) -> Moment:
    """A time leaf `[offset, precision]`."""
    return (leaf[0], leaf[1]) if leaf else NO_MOMENT


def span(record: dict[str, Any], name: str) -> tuple[Moment, Moment]:
    """Start and end of a choice element: `nameDateTime` or `nameInstant` or `namePeriod`."""
    point = record.get(name + "DateTime") or record.get(name + "Instant")
    if point:
        return moment(point), NO_MOMENT
    period = record.get(name + "Period") or {}
    return moment(period.get("start")), moment(period.get("end"))
