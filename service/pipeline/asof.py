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
    listed = list(resources)
    times = [text for resource in listed for text in _times(resource)]
    full = [day for day in map(full_date, times) if day is not None and day <= today]
    partial = [min(day, today) for day in map(_end_of_partial, times) if day is not None]
    newest = max(full or partial, default=today)
    died = min((day for day in map(_death, listed) if day is not None), default=None)
    return newest if died is None else min(newest, died)


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
