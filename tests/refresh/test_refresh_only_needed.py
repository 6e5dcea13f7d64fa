"""A run that asks for what its models need and for no more: the rest is `not-asked`, and neither
lost nor withdrawn by it."""

from typing import Any

from refresh_clinic import PATIENT, Clinic

from service.pipeline.runtime import open_runtime
from service.stores.lessons import LessonStore
from service.stores.twins import TwinStore
from twin_engine.document import clinical_digest, read

Json = dict[str, Any]
LISINOPRIL = {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "29046"}
KIDNEY = ("--model", "ckd-epi-2021", "--only-needed")


def versions(twin: str) -> list[Json]:
    runtime = open_runtime()
    try:
        store = TwinStore(runtime.database)
        listed = store.versions(twin)
        return [
            dict(read(stored.payload).document)
            for about in listed
            if (stored := store.get(twin, about.version)) is not None
        ]
    finally:
        runtime.close()


def slices(document: Json) -> dict[str, tuple[str, str | None]]:
    listed = document["completeness"]["slices"]
    return {one["type"]: (one["verdict"], one.get("reason")) for one in listed}


def test_what_was_not_asked_is_neither_lost_nor_withdrawn(clinic: Clinic) -> None:
    twin = clinic.run()["twin"]
    before = len(clinic.sandbox.requests)
    assert clinic.run(*KIDNEY)["corrected"] == {}
    asked = {request.kind for request in clinic.sandbox.requests[before:]}
    assert {"Observation", "Condition"} <= asked  # pregnancy excludes
    assert not asked & {"MedicationRequest", "Procedure", "Encounter"}
    whole = clinic.run()
    assert whole["corrected"] == {}
    first, part, last = versions(twin)
    told = slices(part)
    assert told["Observation"] == ("complete", None)
    assert told["Procedure"] == told["MedicationRequest"] == ("unknown", "not-asked")
    assert part["changes"]["withdrawn"] == last["changes"]["withdrawn"] == []
    assert part["changes"]["notSeen"]
    assert clinical_digest(first) == clinical_digest(last)
    (note,) = [r for r in clinic.results() if r["resourceType"] == "RiskAssessment"]
    assert note["status"] == "preliminary"


def test_what_was_withdrawn_behind_a_partial_run_is_noticed_by_the_next(clinic: Clinic) -> None:
    """The version between did not ask; only the newest can say that it is gone."""
    order = {
        "resourceType": "MedicationRequest",
        "id": "order",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"coding": [LISINOPRIL]},
        "subject": {"reference": f"Patient/{PATIENT}"},
        "authoredOn": "2020-01-07",
    }
    clinic.sandbox.store.put("MedicationRequest", "order", order)
    clinic.run()
    clinic.run(*KIDNEY)
    clinic.change(order, status="entered-in-error")
    assert clinic.run()["corrected"] == {"withdrawn": 1}


def test_files_are_not_asked(clinic: Clinic) -> None:
    ran = clinic.shell("run", "--bundle", "nothing.json", "--only-needed")
    assert ran.code == 2
    assert "--only-needed" in ran.err


def test_how_the_server_wants_to_be_asked_outlives_a_run(clinic: Clinic) -> None:
    clinic.run()
    base = clinic.sandbox.base_url
    runtime = open_runtime()
    try:
        store = LessonStore(runtime.database)
        words = {one.base: one.words for one in store.known()}
        store.keep(base, "0" * 64, {"post"})
    finally:
        runtime.close()
    assert base in words
    assert not [word for word in words[base] if PATIENT in word]
    assert "it wants searches by POST" in clinic.shell("server", "list").out
    assert clinic.shell("server", "forget", "ehr").code == 0
    assert "nothing was known" in clinic.shell("server", "forget", "ehr").err
