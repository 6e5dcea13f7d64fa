"""The rungs of the ladder on a server with restricted capability, from the command line."""

from collections.abc import Mapping
from typing import Any

import pytest
from refresh_clinic import CREATININE, Open

from service.pipeline.runtime import open_runtime
from service.sandbox.errors import FhirError
from service.sandbox.persona import Persona
from service.sandbox.store import Resource
from service.stores.audit import AuditStore

Json = dict[str, Any]
READ = ("Patient", "Condition", "MedicationRequest", "MedicationStatement", "Procedure",
        "Encounter", "ImagingStudy", "DiagnosticReport", "AllergyIntolerance",
        "FamilyMemberHistory", "Immunization", "Medication")  # fmt: skip


class Taking(Persona):
    """A server that takes these types and no others, and says so."""

    def __init__(self, *kinds: str) -> None:
        rights = dict.fromkeys((*READ, "Observation"), "rs")
        rights |= dict.fromkeys((*kinds, "Device", "Provenance"), "crus")
        self.offers: Mapping[str, str] = rights


class Boasting(Persona):
    """Lists every type as creatable, and refuses a RiskAssessment all the same."""

    def create(self, kind: str, resource: Resource) -> Resource:
        if kind == "RiskAssessment":
            raise FhirError(405, "not-supported", "not here")
        return resource


def audited() -> list[str]:
    runtime = open_runtime()
    found = AuditStore(runtime.database).recent()
    runtime.close()
    return sorted(event.outcome for event in found if event.action == "write-back")


RUNGS = {
    "risk-assessment": (("RiskAssessment", "Observation"), (1, 1, 0), "first-choice"),
    "observation": (("Observation", "DocumentReference"), (0, 2, 0), "not-listed"),
    "document": (("DocumentReference",), (0, 0, 2), "not-listed"),
    "facade": ((), (0, 0, 0), "not-listed"),
}
KINDS = ("RiskAssessment", "Observation", "DocumentReference")


@pytest.mark.parametrize("rung", RUNGS)
def test_each_rung_writes_once_and_is_on_record(open_clinic: Open, rung: str) -> None:
    kinds, numbers, why = RUNGS[rung]
    clinic = open_clinic(Taking(*kinds))
    first = clinic.run()
    assert tuple(len(clinic.ours(kind)) for kind in KINDS) == numbers
    again = clinic.run()
    assert tuple(len(clinic.ours(kind)) for kind in KINDS) == numbers
    assert again["counts"]["written"] == 0
    assert f"prevent:{rung}:{why}" in audited()
    assert len(audited()) == 2  # once for each result, however often it is run
    lower = 0 if rung == "risk-assessment" else 1 if rung == "observation" else 2
    assert sum(n for word, n in first["corrected"].items() if word.startswith("as-")) == lower


def test_a_server_that_promises_more_than_it_takes(open_clinic: Open) -> None:
    clinic = open_clinic(Boasting())
    assert clinic.run()["corrected"] == {"as-observation": 1}
    assert [len(clinic.ours(kind)) for kind in KINDS] == [0, 2, 0]
    assert "prevent:observation:refused" in audited()


def test_a_result_stays_in_the_form_it_was_first_written_in(open_clinic: Open) -> None:
    clinic = open_clinic(Taking("Observation"))
    clinic.run()
    clinic.sandbox.inside.persona = Persona()  # the server learns to take RiskAssessments
    clinic.run()
    assert [len(clinic.ours(kind)) for kind in KINDS] == [0, 2, 0]


def test_the_configuration_decides_where_to_begin(open_clinic: Open) -> None:
    clinic = open_clinic()
    clinic.configure(write_as="document")
    clinic.run()
    assert [len(clinic.ours(kind)) for kind in KINDS] == [0, 0, 2]
    clinic.configure(write_as="facade")
    clinic.run()
    assert [len(clinic.ours(kind)) for kind in KINDS] == [0, 0, 2]


@pytest.mark.parametrize("rung", ["observation", "document"])
def test_a_withdrawn_input_reaches_every_rung(open_clinic: Open, rung: str) -> None:
    clinic = open_clinic(Taking(*RUNGS[rung][0]))
    clinic.run()
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    assert clinic.run()["corrected"]["withdrawn"] == 2
    statuses = [r["status"] for kind in KINDS for r in clinic.ours(kind)]
    assert statuses.count("entered-in-error") == 2


@pytest.mark.slow
def test_a_result_that_no_search_finds_is_found_where_it_was_put(open_clinic: Open) -> None:
    """On a server that lets RiskAssessments be created, read and changed, and not be searched."""
    persona = Taking()
    persona.offers = {**persona.offers, "RiskAssessment": "cru"}
    clinic = open_clinic(persona)
    clinic.run("--model", "prevent")
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    assert clinic.run("--model", "prevent")["corrected"]["withdrawn"] == 1
    before = next(r for r in clinic.ours("RiskAssessment") if r["id"] == risk["id"])
    assert before["status"] == "entered-in-error"


def test_the_card_is_written_once_where_it_is_wanted(open_clinic: Open) -> None:
    clinic = open_clinic()
    clinic.configure(model_cards="true")
    clinic.run()
    assert clinic.run()["counts"]["written"] == 0
    cards = {doc["id"]: doc for doc in clinic.ours("DocumentReference")}
    pointed = {
        entity["what"]["reference"].partition("/")[2]
        for origin in clinic.ours("Provenance")
        for entity in origin["entity"]
        if entity["role"] == "derivation"
    }
    assert pointed == cards.keys()
    assert len(cards) == 2
