"""The client against the sandbox: every made-up patient, whole."""

from collections import Counter
from typing import Any

import pytest
from fhir_outbox import MemoryOutbox
from support.readings import check_same
from test_fhir_writeback import result_set

from service.fhir.http import FhirClient
from service.fhir.kinds import KINDS, withdrawn
from service.fhir.packed import Packed
from service.fhir.pull import pull_patient
from service.fhir.servers import from_url
from service.fhir.writeback import write_back
from service.sandbox.testing import TEST_ANCHOR, population, running_sandbox


def in_scope(resources: Any) -> Counter[tuple[str, str]]:
    return Counter(
        (r["resourceType"], r["id"])
        for r in resources
        if r["resourceType"] in KINDS and not withdrawn(r)
    )


def test_every_patient_comes_whole_and_alone() -> None:
    with running_sandbox() as sandbox, FhirClient(from_url(sandbox.base_url)) as client:
        for record in population():
            arrived: list[Packed] = []
            pulled = pull_patient(client, record.id, arrived=arrived.append)
            check_same(pulled, arrived, TEST_ANCHOR)
            assert sum(map(len, arrived)) > len(pulled.resources) / 2
            assert in_scope(pulled.resources) == in_scope(record.resources)
            assert pulled.safety == []
            verdicts = {s["verdict"] for s in pulled.completeness["slices"]}
            assert "partial" not in verdicts


@pytest.mark.parametrize("times", [3])
def test_written_again_and_again_there_is_one(times: int) -> None:
    patient = population()[0].id
    resources = result_set()
    resources[1]["subject"] = {"reference": f"Patient/{patient}"}
    with running_sandbox() as sandbox, FhirClient(from_url(sandbox.base_url)) as client:
        for _ in range(times):
            before = sandbox.count("Device")
            result = write_back(client, resources, MemoryOutbox(), "k", bytes)
            assert (result.state, result.verified) == ("confirmed", True)
        assert sandbox.count("RiskAssessment") == 1
        assert sandbox.count("Provenance") == 1
        assert sandbox.count("Device") == before
