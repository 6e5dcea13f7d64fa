"""The loop against a FHIR server nobody here wrote: load, pull, write twice, exactly one each."""

import copy
import json
import uuid
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from interop_outbox import MemoryOutbox

from service.fhir.capability import Capability, read_capability
from service.fhir.http import FhirClient
from service.fhir.kinds import KINDS, withdrawn
from service.fhir.pull import pull_patient
from service.fhir.writeback import write_back
from service.sandbox.testing import population

pytestmark = pytest.mark.interop

Resource = dict[str, Any]


def renamed(node: Any, names: dict[str, str]) -> Any:
    """References replaced; those to what is not in the record left out."""
    if isinstance(node, list):
        return [renamed(value, names) for value in node]
    if not isinstance(node, dict):
        return node
    changed = {key: renamed(value, names) for key, value in node.items()}
    text = changed.get("reference")
    if isinstance(text, str) and not text.startswith("#"):
        changed["reference"] = names.get("/".join(text.split("/")[-2:]), "Basic/elsewhere")
    return changed


def load(client: FhirClient, resources: tuple[Resource, ...]) -> str:
    """The record as new resources of that server; the id it gives the patient."""
    names = {f"{r['resourceType']}/{r['id']}": f"urn:uuid:{uuid.uuid4()}" for r in resources}
    entries = []
    for resource in resources:
        body = {k: v for k, v in renamed(resource, names).items() if k not in ("id", "meta")}
        name = names[f"{resource['resourceType']}/{resource['id']}"]
        request = {"method": "POST", "url": resource["resourceType"]}
        entries.append({"fullUrl": name, "resource": body, "request": request})
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = client.write("POST", (), bundle).resource
    assert answer is not None
    places = [entry["response"]["location"] for entry in answer["entry"]]
    place = next(p for p in places if "Patient/" in p)
    return str(place.split("Patient/")[1].split("/")[0])


def in_scope(resources: Any) -> Counter[str]:
    return Counter(
        r["resourceType"] for r in resources if r["resourceType"] in KINDS and not withdrawn(r)
    )


def values(resources: Any) -> Counter[str]:
    """What was measured, whoever stores it."""
    return Counter(
        json.dumps([r.get("effectiveDateTime"), float(r["valueQuantity"]["value"])])
        for r in resources
        if r["resourceType"] == "Observation" and "valueQuantity" in r
    )


@pytest.mark.parametrize("number", [0, 2, 14])
def test_a_record_comes_back_as_it_was_loaded(client: FhirClient, number: int) -> None:
    record = population()[number]
    patient = load(client, copy.deepcopy(record.resources))
    pulled = pull_patient(client, patient)
    assert in_scope(pulled.resources) == in_scope(record.resources)
    assert values(pulled.resources) == values(r for r in record.resources if not withdrawn(r))
    verdicts = {s["type"]: s["verdict"] for s in pulled.completeness["slices"]}
    assert set(verdicts.values()) == {"complete"}
    assert pulled.safety == []


def result_set(patient: str, run: str) -> list[Resource]:
    device, risk, origin = (str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run}{n}")) for n in range(3))
    return [
        {
            "resourceType": "Device",
            "id": device,
            "identifier": [{"system": "urn:twinport:test", "value": f"device-{run}"}],
            "status": "active",
            "deviceName": [{"name": "PREVENT", "type": "model-name"}],
        },
        {
            "resourceType": "RiskAssessment",
            "id": risk,
            "identifier": [{"system": "urn:twinport:test", "value": f"risk-{run}"}],
            "status": "preliminary",
            "subject": {"reference": f"Patient/{patient}"},
            "occurrenceDateTime": "2026-06-02T08:00:00Z",
            "performer": {"reference": f"urn:uuid:{device}"},
            "prediction": [
                {
                    "outcome": {"text": "Cardiovascular disease"},
                    "probabilityDecimal": 14.2,
                    "whenPeriod": {"start": "2026-06-02", "end": "2036-06-02"},
                }
            ],
        },
        {
            "resourceType": "Provenance",
            "id": origin,
            "target": [{"reference": f"urn:uuid:{risk}"}],
            "recorded": "2026-06-02T08:00:00Z",
            "activity": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
                        "code": "CREATE",
                    }
                ]
            },
            "agent": [{"who": {"reference": f"urn:uuid:{device}"}}],
        },
    ]


def without(capability: Capability, way: str) -> Capability:
    """What the server states, less what would be preferred to `way`."""
    if way == "transaction":
        return capability
    types = capability.types
    if way == "search-then-create":
        types = {
            name: replace(t, conditional_create=False, update_create=False)
            for name, t in types.items()
        }
    if way == "conditional-create":
        types = {name: replace(t, update_create=False) for name, t in types.items()}
    return replace(capability, interactions=frozenset(), types=types)


def count(client: FhirClient, kind: str, *condition: str) -> int:
    answer = client.search(kind, [(condition[0], condition[1])]).resource
    assert answer is not None
    return len(answer.get("entry", []))


@pytest.mark.parametrize("way", ["transaction", "conditional-create", "search-then-create"])
def test_written_twice_there_is_one_of_each(client: FhirClient, way: str) -> None:
    patient = load(client, copy.deepcopy(population()[14].resources))
    run = str(uuid.uuid4())
    capability = without(read_capability(client), way)
    results = [
        write_back(
            client,
            result_set(patient, run),
            MemoryOutbox(),
            run,
            lambda data: data[::-1],
            capability=capability,
        )
        for _ in range(2)
    ]
    first, second = results
    assert (first.state, first.verified, first.strategy) == ("confirmed", True, way)
    assert len(first.written) == 3
    assert (second.verified, second.written) == (True, [])
    assert second.existing == first.written
    risk = first.written[1]
    assert count(client, "RiskAssessment", "identifier", f"urn:twinport:test|risk-{run}") == 1
    assert count(client, "Device", "identifier", f"urn:twinport:test|device-{run}") == 1
    assert count(client, "Provenance", "target", risk) == 1
    stored = client.read(*risk.split("/")).resource
    assert stored is not None
    assert stored["subject"]["reference"] == f"Patient/{patient}"
    assert stored["performer"]["reference"] == first.written[0]


def test_a_duplicate_is_withdrawn_and_the_oldest_stays(client: FhirClient) -> None:
    patient = load(client, copy.deepcopy(population()[14].resources))
    run = str(uuid.uuid4())
    resources = result_set(patient, run)
    seal = bytes
    first = write_back(client, resources, MemoryOutbox(), run, seal)
    twin = {k: v for k, v in resources[1].items() if k not in ("id", "performer")}
    client.write("POST", ("RiskAssessment",), twin)
    again = write_back(client, resources, MemoryOutbox(), run, seal)
    assert len(again.retired) == 1
    assert first.written[1] in again.existing
    withdrawn_one = client.read(*again.retired[0].split("/")).resource
    assert withdrawn_one is not None
    assert withdrawn_one["status"] == "entered-in-error"
