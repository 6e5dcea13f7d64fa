"""What a resource points to and searches leave out: its medicine, its members, its results."""

from collections.abc import Iterator
from typing import Any

from service.fhir.references import reference_of

Resource = dict[str, Any]

_ONE = {
    "MedicationRequest": "medicationReference",
    "MedicationStatement": "medicationReference",
}
_SEVERAL = {"Observation": "hasMember", "DiagnosticReport": "result"}


def targets(resource: Resource) -> tuple[str, ...]:
    """`Type/id` of each; other forms of reference lead nowhere."""
    kind = resource["resourceType"]
    if kind in _ONE:
        text = reference_of(resource, _ONE[kind])
        return (text,) if text else ()
    listed = resource.get(_SEVERAL[kind]) if kind in _SEVERAL else None
    return tuple(_listed(listed)) if listed else ()


def _listed(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else ():
        text = reference_of({"item": item}, "item")
        if text:
            yield text
