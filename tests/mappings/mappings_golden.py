"""One golden file for each resource type: a whole made-up resource in, its facts out.

`python tests/mappings/mappings_golden.py` writes them anew; read the difference before you commit.
"""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from mappings_path import Resource, mapped

from mappings.from_fhir import MAPPERS
from mappings.vocabulary.facts import Mapped
from service.sandbox.population import generate

FOLDER = Path(__file__).parent / "golden"
DAY = date(2021, 3, 1)
TYPES = tuple(sorted(MAPPERS))
# The one type that the sandbox's people do not have.
STATEMENT: Resource = {
    "resourceType": "MedicationStatement",
    "id": "statement",
    "status": "active",
    "medicationCodeableConcept": {
        "coding": [
            {
                "system": "http://www.nlm.nih.gov/research/umls/rxnorm",
                "code": "83367",
                "display": "atorvastatin",
            }
        ],
        "text": "Atorvastatin, as told by the daughter",
    },
    "subject": {"reference": "Patient/p1"},
    "effectivePeriod": {"start": "2019-04"},
    "dateAsserted": "2020-02-11",
    "dosage": [
        {
            "text": "one, before Olga puts the light out",
            "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
            "doseAndRate": [
                {
                    "doseQuantity": {
                        "value": 1,
                        "unit": "tablet",
                        "system": "http://terminology.hl7.org/CodeSystem/v3-orderableDrugForm",
                        "code": "TAB",
                    }
                }
            ],
        }
    ],
    "note": [{"text": "Mrs Example says she takes it in the evening"}],
}


def examples() -> Iterator[tuple[str, list[Resource]]]:
    """Per type the richest resource of the sandbox's people, with its Patient (and Medication)."""
    records = [(*person.resources, STATEMENT) for person in generate(DAY)]
    for kind in TYPES:
        found = [(r, rs) for rs in records for r in rs if r["resourceType"] == kind]
        resource, record = max(found, key=lambda pair: (len(json.dumps(pair[0])), pair[0]["id"]))
        person = next(r for r in record if r["resourceType"] == "Patient")
        shared = [r for r in record if r["resourceType"] == "Medication"]
        # The statement is nobody's yet.
        about = {"subject": {"reference": f"Patient/{person['id']}"}}
        resource = resource | about if resource["id"] == "statement" else resource
        yield kind, [person] + ([resource] if kind != "Patient" else []) + shared


def golden(resources: list[Resource]) -> dict[str, Any]:
    person, *others = resources
    return {"resources": resources, "facts": told(mapped(*others, person=person))}


def told(found: Mapped) -> dict[str, Any]:
    """Every fact with its fields; pseudonyms are random, so a source is its place alone."""
    names: dict[str, str] = {}

    def plain(value: Any, field: str = "") -> Any:
        if hasattr(value, "_asdict"):
            return {k: plain(v, k) for k, v in value._asdict().items() if v not in ((), None, "")}
        if isinstance(value, tuple | list):
            return [plain(item, field) for item in value]
        if field in ("source", "study", "measures"):
            return names.setdefault(str(value), f"source {len(names) + 1}")
        return value

    return {kind: plain(facts, kind) for kind, facts in found._asdict().items() if facts}


def spelled(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, given in examples():
        (FOLDER / f"{name}.json").write_text(spelled(golden(given)), encoding="utf-8")
