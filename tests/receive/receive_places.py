"""Installations with keys and a database each, and one person whom both know."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.twins import complete

from service.config import load_config
from service.fhir.record import PatientRecord
from service.pipeline.make import Made, Wish
from service.pipeline.package import package
from service.pipeline.runtime import Runtime, open_runtime
from service.receive.desk import Reception

ME = ("admin", "cli")


@dataclass(frozen=True)
class Place:
    runtime: Runtime
    desk: Reception

    def twin(self, *more: Mapping[str, Any], policy: str = "safe-harbor") -> Made:
        """A run of the person, with what this place has of her besides."""
        record = PatientRecord(
            "zorkmidt-7", "https://ehr.example.org/fhir", [*RECORD, *more], complete()
        )
        wish = Wish(policy, self.runtime.models(("prevent", "ckd-epi-2021")), "record")
        return self.runtime.maker.make(record, wish)

    def package(self, made: Made) -> bytes:
        found = package(self.runtime, made.twin.id, made.twin.version)
        assert found is not None
        return found

    def trust(self, name: str, other: "Place") -> None:
        keys = other.runtime.jwks()
        self.desk.trust.add(name, keys, [key["kid"] for key in keys["keys"]])


def place(folder: Path) -> Place:
    return opened({"TWINPORT_HOME": str(folder)})


def opened(settings: Mapping[str, str]) -> Place:
    runtime = open_runtime(load_config(settings))
    return Place(runtime, Reception(runtime))


def reading(name: str, code: str, day: str, value: float, unit: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "subject": {"reference": "Patient/zorkmidt-7"},
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "effectiveDateTime": day,
        "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": unit},
    }


RECORD: tuple[dict[str, Any], ...] = (
    {
        "resourceType": "Patient",
        "id": "zorkmidt-7",
        "gender": "female",
        "birthDate": "1961-07-19",
        "name": [{"family": "Zorkmidt"}],
    },
    reading("bp-1", "8480-6", "2026-03-02", 142, "mm[Hg]"),
    reading("crea-1", "2160-0", "2026-03-02", 0.9, "mg/dL"),
)
