"""Records that were merged: the survivor is followed to, the earlier ids are asked for, too."""

from typing import Any

import pytest
from fhir_servers import ScriptedServer, bundle, client_for, fhir, observations, outcome
from werkzeug import Request, Response

from service.fhir.errors import WrongPatient
from service.fhir.pull import pull_patient
from service.fhir.record import Pulled, SafetyEvent


def link(kind: str, to: str) -> dict[str, Any]:
    return {"type": kind, "other": {"reference": to}}


def pull(server: ScriptedServer, patient: str = "old") -> Pulled:
    with client_for(server.base) as client:
        return pull_patient(client, patient, ["Observation"])


def owned(request: Request) -> Response:
    """Each patient's own; `o-<patient>`."""
    name = request.args["patient"].removeprefix("Patient/")
    return fhir(bundle(*observations(name, f"o-{name}")))


def merged(server: ScriptedServer) -> None:
    server.patient("old", link=[link("replaced-by", "Patient/new")])
    server.patient("new", link=[link("replaces", "Patient/old")])
    server.on("Observation", owned)


@pytest.mark.parametrize("asked", ["old", "new"])
def test_one_person_whichever_id_is_asked_for(scripted: ScriptedServer, asked: str) -> None:
    merged(scripted)
    pulled = pull(scripted, asked)
    assert pulled.patient_id == "new"
    found = [r for r in pulled.resources if r["resourceType"] == "Observation"]
    assert [r["id"] for r in found] == ["o-new", "o-old"]
    assert {r["subject"]["reference"] for r in found} == {"Patient/new"}
    assert pulled.safety == [SafetyEvent("patient-merged", "Patient", 1)]


def test_a_chain_of_merges_is_followed_to_its_end(scripted: ScriptedServer) -> None:
    merged(scripted)
    scripted.patient("new", link=[link("replaced-by", f"{scripted.base}/Patient/newest")])
    scripted.patient("newest")
    pulled = pull(scripted)
    assert pulled.patient_id == "newest"
    assert len([r for r in pulled.resources if r["resourceType"] == "Observation"]) == 3


def test_a_redirect_to_the_survivor_is_a_merge(scripted: ScriptedServer) -> None:
    """As Epic answers for a merged patient, with error 4107 in the body."""
    moved = fhir(outcome("processing"), 307, Location=f"{scripted.base}/Patient/new")
    scripted.on("Patient/old", moved)
    scripted.patient("new")
    scripted.on("Observation", owned)
    pulled = pull(scripted)
    assert pulled.patient_id == "new"
    assert pulled.safety == [SafetyEvent("patient-merged", "Patient", 1)]


def test_a_claim_that_the_other_record_does_not_confirm_is_not_believed(
    scripted: ScriptedServer,
) -> None:
    scripted.patient("new", link=[link("replaces", "Patient/stranger")])
    scripted.patient("stranger")
    scripted.on("Observation", owned)
    pulled = pull(scripted, "new")
    assert [r["id"] for r in pulled.resources if r["resourceType"] == "Observation"] == ["o-new"]
    assert pulled.safety == []


def test_an_earlier_record_that_is_gone_took_its_contents_along(scripted: ScriptedServer) -> None:
    scripted.patient("new", link=[link("replaces", "Patient/old")])
    scripted.on("Patient/old", fhir(outcome("deleted"), 410))
    scripted.on("Observation", owned)
    assert pull(scripted, "new").patient_id == "new"


def test_a_survivor_elsewhere_is_reported(scripted: ScriptedServer) -> None:
    scripted.patient("old", link=[link("replaced-by", "https://elsewhere.example/Patient/x")])
    assert pull(scripted).safety == [SafetyEvent("patient-merged", "Patient", 1)]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_survivor_that_may_not_be_read_means_no_twin(
    scripted: ScriptedServer, status: int
) -> None:
    scripted.patient("old", link=[link("replaced-by", "Patient/new")])
    scripted.on("Patient/new", fhir(outcome("forbidden"), status))
    with pytest.raises(WrongPatient, match="may not read"):
        pull(scripted)


def test_a_circle_of_merges_is_refused(scripted: ScriptedServer) -> None:
    scripted.patient("old", link=[link("replaced-by", "Patient/new")])
    scripted.patient("new", link=[link("replaced-by", "Patient/old")])
    with pytest.raises(WrongPatient, match="circle"):
        pull(scripted)
