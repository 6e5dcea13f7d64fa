"""Records of any length: the same kinds of Observation over and over, each with its own day."""

from datetime import date, timedelta
from typing import Any

import orjson

from service.sandbox.population import PatientBundle

Json = dict[str, Any]


def observations(person: PatientBundle, count: int) -> list[Json]:
    """`count` Observations of a number: those of the person, repeated a day earlier each round."""
    kinds = list({_code(r): r for r in person.resources if _is_number(r)}.values())
    last = max(r["effectiveDateTime"] for r in kinds)[:10]
    return [_earlier(kinds[i % len(kinds)], i, i // len(kinds), last) for i in range(count)]


def bundle(person: PatientBundle, count: int) -> bytes:
    patient = next(r for r in person.resources if r["resourceType"] == "Patient")
    entries = [{"resource": r} for r in (patient, *observations(person, count))]
    return orjson.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})


def _is_number(resource: Json) -> bool:
    return "valueQuantity" in resource and "effectiveDateTime" in resource


def _code(resource: Json) -> str:
    return str(resource["code"]["coding"][0]["code"])


def _earlier(resource: Json, number: int, days: int, last: str) -> Json:
    day = date.fromisoformat(last) - timedelta(days)
    return resource | {"id": f"long-{number}", "effectiveDateTime": day.isoformat()}
