"""Time without a calendar in FHIR: how long before or after the twin's now.

A date element keeps no value and two extensions: why there is none (`data-absent-reason`: masked),
and HL7's `cqf-relativeDateTime` with the offset from the anchor, which is the `occurred` of the
Provenance that says how the twin was made. A time that is finer or coarser than a day adds our own
extension `precision`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mappings.to_fhir.codings import UCUM

Json = dict[str, Any]

DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
RELATIVE = "http://hl7.org/fhir/StructureDefinition/cqf-relativeDateTime"
OWN = "urn:twinport:fhir"
ANCHOR_PATH = "occurred"
USUAL = "day"


def absent(reason: str) -> Json:
    """What stands in the place of a value: `masked` (not told), `unknown` (not known)."""
    return {"url": DATA_ABSENT, "valueCode": reason}


def own_extension(name: str, code: str) -> Json:
    return {"url": f"{OWN}:{name}", "valueCode": code}


@dataclass(frozen=True, slots=True)
class Clock:
    """The twin's now, and the resource whose `occurred` it is."""

    now: int
    unit: str  # UCUM: `d` or `min`
    anchor: str  # the fullUrl of the Provenance

    @classmethod
    def of(cls, head: Mapping[str, Any], anchor: str) -> "Clock":
        return cls(head["now"], head["timeUnit"], anchor)

    def at(self, t: int, precision: str = "day") -> Json:
        """The body of `_element` for an element of type dateTime, date or instant."""
        return {"extension": [absent("masked"), *self.beside(t, precision)]}

    def beside(self, t: int, precision: str = "day") -> list[Json]:
        """The extensions that say when, beside a value or in its place."""
        finer = [own_extension("precision", precision)] if precision != USUAL else []
        return [self._relative(t), *finer]

    def told(self, t: int) -> str:
        """The same in words, for an element of type string."""
        away, name = t - self.now, {"d": "day", "min": "minute"}[self.unit]
        if away == 0:
            return "at the twin's now"
        side = "after" if away > 0 else "before"
        return f"{abs(away)} {name}{'' if abs(away) == 1 else 's'} {side} the twin's now"

    def _relative(self, t: int) -> Json:
        away = t - self.now
        relation = "concurrent" if away == 0 else "after" if away > 0 else "before"
        offset = {"value": abs(away), "unit": self.unit, "system": UCUM, "code": self.unit}
        return {
            "url": RELATIVE,
            "extension": [
                {"url": "target", "valueReference": {"reference": self.anchor}},
                {"url": "targetPath", "valueString": ANCHOR_PATH},
                {"url": "relationship", "valueCode": relation},
                {"url": "offset", "valueDuration": offset},
            ],
        }

    def period(self, start: int | None, end: int | None, precision: str = "day") -> Json:
        """A Period of relative times."""
        made = {}
        if start is not None:
            made["_start"] = self.at(start, precision)
        if end is not None:
            made["_end"] = self.at(end)
        return made


def masked() -> Json:
    """The body of `_element` where a date exists and is not told at all."""
    return {"extension": [absent("masked")]}
