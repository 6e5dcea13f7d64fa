"""What we wrote ourselves is no evidence: a result of ours is never an input of the next run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.fhir.packed import only
from service.fhir.record import PatientRecord

IDENTIFIER_SYSTEM = "urn:twinport:assessment"


def without_own(record: PatientRecord) -> PatientRecord:
    """The record as it would be had we never written to it."""
    return replace(record, resources=only(record.resources, lambda found: not is_own(found)))


def is_own(resource: Mapping[str, Any]) -> bool:
    listed = resource.get("identifier")
    if not isinstance(listed, list):
        return False
    return any(isinstance(i, dict) and i.get("system") == IDENTIFIER_SYSTEM for i in listed)
