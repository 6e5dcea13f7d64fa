"""A small identified record, and the same record a visit later."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.shell import Shell

Resource = dict[str, Any]

NAME = "Wilhelmina"
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


@dataclass(frozen=True)
class Home:
    """Files as `twinport run --out` wrote them."""

    bundle: Path
    first: Path
    second: Path
    shell: Shell

    @property
    def keys(self) -> Path:
        return self.second.with_name("keys.json")


def _coded(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def _reading(name: str, day: str, code: str, value: float, unit: str) -> Resource:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": _coded(LOINC, code),
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": day,
        "valueQuantity": {
            "value": value,
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
    }


def _about(kind: str, name: str, **more: Any) -> Resource:
    return {"resourceType": kind, "id": name, "subject": {"reference": "Patient/p1"}} | more


def record() -> list[Resource]:
    return [
        {
            "resourceType": "Patient",
            "id": "p1",
            "name": [{"family": "Sandquist", "given": [NAME]}],
            "gender": "female",
            "birthDate": "1961-05-17",
        },
        _reading("chol", "2023-03-01", "2093-3", 5.2, "mmol/L"),
        _reading("crea", "2023-03-01", "2160-0", 0.9, "mg/dL"),
        _reading("odd", "2023-03-01", "718-7", 990.0, "g/dL"),
        _reading("strange", "2023-03-01", "21889-1", 4.0, "cm"),
        _about(
            "Observation",
            "smoke",
            status="final",
            code=_coded(LOINC, "72166-2"),
            effectiveDateTime="2023-03-01",
            valueCodeableConcept=_coded(SNOMED, "266919005"),
        ),
        _about(
            "Condition",
            "ht",
            code=_coded(SNOMED, "38341003"),
            onsetDateTime="2015-06",
            clinicalStatus=_coded(
                "http://terminology.hl7.org/CodeSystem/condition-clinical", "active"
            ),
            verificationStatus=_coded(
                "http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed"
            ),
        ),
        _about("Condition", "other", code=_coded(SNOMED, "444814009"), onsetDateTime="2020-01-02"),
        _about(
            "MedicationRequest",
            "ace",
            status="active",
            intent="order",
            authoredOn="2022-01-10",
            medicationCodeableConcept=_coded(RXNORM, "29046"),
        ),
        _about(
            "Procedure",
            "proc",
            status="completed",
            code=_coded(SNOMED, "302497006"),
            performedDateTime="2021-07-01",
        ),
        _about(
            "Encounter",
            "visit",
            status="finished",
            period={"start": "2023-03-01", "end": "2023-03-02"},
            **{
                "class": {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
                    "code": "AMB",
                }
            },
        ),
    ]


def later(before: list[Resource]) -> list[Resource]:
    """A new reading, a value corrected, a diagnosis entered in error."""
    after = copy.deepcopy(before)
    named = {resource["id"]: resource for resource in after}
    named["crea"] |= {"status": "corrected"}
    named["crea"]["valueQuantity"]["value"] = 1.1
    after.remove(named["other"])
    after.append(_reading("sbp", "2023-06-11", "8480-6", 141, "mm[Hg]"))
    return after
