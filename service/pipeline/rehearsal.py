"""A record of nobody, with which a process goes once through the path before the first run waits.

Tables, policies and models are read when they are first needed, which takes longer than a run does.
"""

from collections.abc import Iterator
from typing import Any

from service.fhir.record import PatientRecord

Json = dict[str, Any]

_PATIENT = {"resourceType": "Patient", "id": "nobody", "gender": "female", "birthDate": "1970"}
_SUBJECT = {"reference": "Patient/nobody"}
_UCUM = "http://unitsofmeasure.org"
# What the models read most: LOINC code, value, unit.
_MEASURED = (
    ("8480-6", 120, "mm[Hg]"),
    ("2093-3", 190, "mg/dL"),
    ("2085-9", 50, "mg/dL"),
    ("2160-0", 0.9, "mg/dL"),
    ("39156-5", 25, "kg/m2"),
    ("1742-6", 20, "U/L"),
    ("1920-8", 20, "U/L"),
    ("777-3", 250, "10*3/uL"),
)
_ANSWERED = (("72166-2", "http://snomed.info/sct", "266919005"),)


def nobody(day: str) -> PatientRecord:
    """Complete as far as it goes, everything of this day."""
    resources = [_PATIENT, *_observations(day)]
    kinds = ("Condition", "MedicationRequest", "MedicationStatement", "Observation", "Procedure")
    slices = [{"type": kind, "verdict": "complete", "matches": 0, "asked": []} for kind in kinds]
    completeness = {"basis": "bundle", "slices": slices}
    return PatientRecord("nobody", "urn:twinport:nobody", resources, completeness)


def _observations(day: str) -> Iterator[Json]:
    for code, value, unit in _MEASURED:
        quantity = {"value": value, "system": _UCUM, "code": unit, "unit": unit}
        yield _observation(day, code) | {"valueQuantity": quantity}
    for code, system, answer in _ANSWERED:
        coded = {"coding": [{"system": system, "code": answer}]}
        yield _observation(day, code) | {"valueCodeableConcept": coded}


def _observation(day: str, code: str) -> Json:
    return {
        "resourceType": "Observation",
        "id": code,
        "status": "final",
        "subject": _SUBJECT,
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "effectiveDateTime": day,
    }
