"""The day a twin describes: today for a live server, the newest clinical record for a file.

Reads source dates, so it works on identified resources and its result stays in the run.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

Resource = Mapping[str, Any]

# Where each type says when something happened to the person. Administrative times (issued,
# recorded, last updated) are left out: they say when somebody typed.
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
    """The newest full date on which something clinical happened, no later than death or today."""
    listed = list(resources)
    days = [day for resource in listed for day in _days(resource) if day <= today]
    newest = max(days, default=today)
    died = min((day for day in map(_death, listed) if day is not None), default=None)
    return newest if died is None else min(newest, died)


def _days(resource: Resource) -> Iterable[date]:
    for path in CLINICAL_TIMES.get(str(resource.get("resourceType")), ()):
        day = full_date(_at(resource, path))
        if day is not None:
            yield day


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
