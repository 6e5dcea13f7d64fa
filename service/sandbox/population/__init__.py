"""A made-up population: the same seed and anchor day give the same bytes; it never ages."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from service.sandbox.population import record
from service.sandbox.population.awkward import add_oddities
from service.sandbox.population.chart import Chart
from service.sandbox.population.identity import add_patient, shared_resources
from service.sandbox.population.tables import patients

DEFAULT_SEED = 20

DEMO_PATIENTS = ("demo-001", "demo-002", "demo-003")
"""A full answer, a partial one for want of measurements, and a refusal for known disease."""


@dataclass(frozen=True)
class PatientBundle:
    """One patient's record with everything it refers to."""

    id: str
    shows: str
    resources: tuple[dict[str, Any], ...]
    awkward: dict[str, str] = field(default_factory=dict)
    """Resources that strict R4 parsers refuse, with the reason."""

    def bundle(self) -> dict[str, Any]:
        entries = [
            {
                "fullUrl": f"https://ehr.example.org/fhir/{r['resourceType']}/{r['id']}",
                "resource": r,
            }
            for r in self.resources
        ]
        return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def generate(anchor: date, seed: int = DEFAULT_SEED) -> list[PatientBundle]:
    """Every patient of the cast, as their record stands on the anchor day."""
    return [_record(spec, anchor, seed) for spec in patients()]


def _record(spec: dict[str, Any], anchor: date, seed: int) -> PatientBundle:
    chart = Chart(spec, anchor, seed)
    record.add_device(chart)
    record.add_visits(chart)
    record.add_conditions(chart)
    record.add_drugs(chart)
    record.add_procedures(chart)
    record.add_imaging(chart)
    record.add_tumour(chart)
    record.add_allergies(chart)
    record.add_family(chart)
    record.add_vaccines(chart)
    record.add_letter(chart)
    add_patient(chart)
    add_oddities(chart)
    resources = (*chart.resources, *shared_resources())
    return PatientBundle(chart.id, spec["shows"], resources, chart.awkward_ids)
