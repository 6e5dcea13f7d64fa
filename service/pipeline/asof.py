"""The day a twin describes: today for a live server, the newest clinical record for a file.

A file without any full date is taken at the end of its newest month or year, so that it gives the
same twin on any day. Reads source dates, so it works on identified resources and its result stays
in the run.
"""

import re
from calendar import monthrange
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

Resource = Mapping[str, Any]
_PARTIAL = re.compile(r"(?P<year>\d{4})(-(?P<month>\d{2}))?")

# Where each type says when something happened to the person. Administrative times (issued, last
# updated) are left out: they say when somebody typed. A Condition often has no other than that on
# which it was recorded.
CLINICAL_TIMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "Observation": (
        ("effectiveDateTime",),
        ("effectiveInstant",),
        ("effectivePeriod", "start"),
        ("effectivePeriod", "end"),
    ),
    "Condition": (("onsetDateTime",), ("onsetPeriod", "start"), ("recordedDate",)),
    "Encounter": (("period", "start"), ("period", "end")),
    "Procedure": (
        ("performedDateTime",),
        ("performedPeriod", "start"),
        ("performedPeriod", "end"),
    ),
    "MedicationRequest": (("authoredOn",),),
    "MedicationStatement": (("effectiveDateTime",), ("effectivePeriod", "start")),
    "ImagingStudy": (("started",),),
    "DiagnosticReport": (("effectiveDateTime",), ("effectivePeriod", "start")),
    "Immunization": (("occurrenceDateTime",),),
}


def last_record(resources: Iterable[Resource], today: date) -> date:
    """The newest date on which something clinical happened, no later than death or today."""
    found = _Newest(today)
    for resource in resources:  # one pass, nothing held: a record may be long
        for text in _times(resource):
            found.see(text)
        found.see_death(_death(resource))
    return found.day()


class _Newest:
    """The newest full date, the newest month or year, the first death."""

    def __init__(self, today: date) -> None:
        self._today = today
        self._full: date | None = None
        self._partial: date | None = None
        self._died: date | None = None

    def see(self, text: Any) -> None:
        day = full_date(text)
        if day is None:
            end = _end_of_partial(text)
            if end is not None:
                self._partial = max(self._partial or date.min, min(end, self._today))
        elif day <= self._today:
            self._full = max(self._full or day, day)

    def see_death(self, day: date | None) -> None:
        if day is not None:
            self._died = min(self._died or day, day)

    def day(self) -> date:
        newest = self._full or self._partial or self._today
        return newest if self._died is None else min(newest, self._died)


def _times(resource: Resource) -> Iterable[Any]:
    for path in CLINICAL_TIMES.get(str(resource.get("resourceType")), ()):
        yield _at(resource, path)


def _death(resource: Resource) -> date | None:
    if resource.get("resourceType") != "Patient":
        return None
    return full_date(resource.get("deceasedDateTime"))


def _at(resource: Resource, path: tuple[str, ...]) -> Any:
    value: Any = resource
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def full_date(text: Any) -> date | None:
    """The calendar day of a FHIR date or dateTime; None for partial and broken ones."""
    if not isinstance(text, str) or len(text) < 10:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _end_of_partial(text: Any) -> date | None:
    """The last day of a FHIR date that names a month or a year alone."""
    found = _PARTIAL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    year, month = int(found["year"]), int(found["month"] or 12)
    if not (1 <= month <= 12 and year >= 1):
        return None
    return date(year, month, monthrange(year, month)[1])
