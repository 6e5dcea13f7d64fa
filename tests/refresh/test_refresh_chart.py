"""A chart through time: run, run again, correct, withdraw, restore. At each step it holds exactly
what it should."""

from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest
from refresh_clinic import CREATININE, PATIENT, Clinic

from service.pipeline.runtime import open_runtime
from service.refresh import earlier
from service.stores.audit import AuditEvent, AuditStore
from service.stores.own import OwnFilter, OwnStore

Json = dict[str, Any]
FINAL = {"status": "final"}


def chart(clinic: Clinic) -> list[str]:
    """What is ours in the chart, one line each: type, model, status, tag, what it revises."""
    lines = []
    for result in clinic.results():
        model = result["method"]["coding"][0]["code"].partition("-")[0]
        tags = [tag["code"] for tag in result["meta"].get("tag", ())]
        lines.append(" ".join([result["resourceType"], model, result["status"], *tags]))
    return sorted(lines)


def revisions(clinic: Clinic) -> Counter[str]:
    """The earlier results that later ones name as revised."""
    known = {f"{r['resourceType']}/{r['id']}": r["resourceType"] for r in clinic.results()}
    return Counter(
        known[entity["what"]["reference"]]
        for origin in clinic.ours("Provenance")
        for entity in origin.get("entity", ())
        if entity["role"] == "revision"
    )


def audited(action: str) -> list[AuditEvent]:
    runtime = open_runtime()
    found = [event for event in AuditStore(runtime.database).recent() if event.action == action]
    runtime.close()
    return found


FIRST = ["Observation ckd preliminary", "RiskAssessment prevent preliminary"]


def test_the_golden_transcript(clinic: Clinic) -> None:
    """One chart, step by step."""
    assert clinic.run()["corrected"] == {}
    assert chart(clinic) == FIRST

    assert clinic.run()["counts"]["written"] == 0
    assert chart(clinic) == FIRST
    assert revisions(clinic) == Counter()

    # A reading is corrected: new results in the place of the old ones, which say so.
    creatinine = clinic.newest(CREATININE)
    quantity = creatinine["valueQuantity"]
    clinic.change(creatinine, valueQuantity={**quantity, "value": quantity["value"] * 1.5})
    assert clinic.run()["corrected"] == {"superseded": 2}
    superseded = [
        "Observation ckd preliminary",
        "Observation ckd preliminary superseded",
        "RiskAssessment prevent preliminary",
        "RiskAssessment prevent preliminary superseded",
    ]
    assert chart(clinic) == superseded
    assert revisions(clinic) == Counter({"RiskAssessment": 1, "Observation": 1})

    assert (clinic.run()["corrected"], chart(clinic)) == ({}, superseded)

    # The corrected reading is withdrawn: whatever rests on it no longer stands, also what was
    # superseded before.
    corrected = clinic.newest(CREATININE)
    clinic.change(corrected, status="entered-in-error")
    assert clinic.run()["corrected"]["withdrawn"] == 4
    gone = [line for line in chart(clinic) if "entered-in-error" in line]
    assert gone == [
        "Observation ckd entered-in-error superseded withdrawn",
        "Observation ckd entered-in-error withdrawn",
        "RiskAssessment prevent entered-in-error superseded withdrawn",
        "RiskAssessment prevent entered-in-error withdrawn",
    ]
    after = chart(clinic)
    assert (clinic.run()["corrected"], chart(clinic)) == ({}, after)

    # It was right after all: the same results hold again, and are not written a second time. Those
    # of the value that was corrected stay as they are.
    clinic.change(corrected, status="final")
    assert clinic.run()["corrected"]["restored"] == 2
    assert [line for line in chart(clinic) if "entered-in-error" in line] == [
        "Observation ckd entered-in-error superseded withdrawn",
        "RiskAssessment prevent entered-in-error superseded withdrawn",
    ]
    assert len(clinic.results()) == len(after)


def test_a_withdrawn_result_says_why_and_keeps_its_content(clinic: Clinic) -> None:
    clinic.run()
    (before,) = clinic.ours("RiskAssessment")
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    clinic.run()
    after = next(r for r in clinic.ours("RiskAssessment") if r["id"] == before["id"])
    assert after["status"] == "entered-in-error"
    assert after["prediction"] == before["prediction"]
    assert after["note"][:-1] == before["note"]
    assert "withdrawn" in after["note"][-1]["text"]
    assert {event.outcome for event in audited("result-withdrawn")} == {
        "prevent:input-withdrawn",
        "ckd-epi-2021:input-withdrawn",
    }


def test_our_own_facade_says_the_same(clinic: Clinic) -> None:
    twin = clinic.run()["twin"]
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    clinic.run()
    runtime = open_runtime()
    where = OwnFilter(type="RiskAssessment", twins=[twin])
    own, _ = OwnStore(runtime.database).search(where, limit=10, after=None)
    runtime.close()
    assert [b'"entered-in-error"' in one.content for one in own].count(True) == 1


def test_our_own_facade_flags_what_a_person_accepted(clinic: Clinic) -> None:
    twin = clinic.run()["twin"]
    runtime = open_runtime()
    store, where = OwnStore(runtime.database), OwnFilter(type="RiskAssessment", twins=[twin])
    (own,) = store.search(where, limit=10, after=None)[0]
    store.keep([replace(own, content=orjson.dumps(orjson.loads(own.content) | FINAL))])
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    clinic.run()
    shown = {
        one.id: orjson.loads(one.content) for one in store.search(where, limit=9, after=None)[0]
    }
    runtime.close()
    assert shown[own.id]["status"] == "final"
    assert shown[own.id]["meta"]["tag"][-1]["code"] == "needs-review"


def test_what_a_person_accepted_is_flagged_and_reported_until_dealt_with(clinic: Clinic) -> None:
    clinic.run()
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(risk, status="final")
    (accepted,) = clinic.ours("RiskAssessment")
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    for _ in range(2):  # until somebody has dealt with it
        summary = clinic.run()
        assert summary["review"] == ["prevent"]
        flagged = next(r for r in clinic.ours("RiskAssessment") if r["id"] == risk["id"])
        assert (flagged["status"], flagged["prediction"]) == ("final", accepted["prediction"])
        assert [t["code"] for t in flagged["meta"]["tag"]][-1:] == ["needs-review"]
        assert flagged["note"][:-1] == accepted.get("note", [])
        assert flagged["note"][-1]["text"].startswith("Needs review")
    assert [e.outcome for e in audited("result-accepted-needs-review")] == [
        "prevent:input-withdrawn"
    ]
    clinic.change(flagged, status="entered-in-error")
    assert clinic.run()["review"] == []


def test_a_flag_that_was_taken_off_is_put_on_again(clinic: Clinic) -> None:
    """By an EHR that saves its own copy of the result."""
    clinic.run()
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(risk, status="final")
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    clinic.run()
    clinic.change(risk, status="final")
    assert clinic.run()["review"] == ["prevent"]
    flagged = next(r for r in clinic.ours("RiskAssessment") if r["id"] == risk["id"])
    assert [t["code"] for t in flagged["meta"]["tag"]] == ["needs-review"]


def test_an_input_that_is_back_takes_the_flag_off(clinic: Clinic) -> None:
    clinic.run()
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(risk, status="final")
    creatinine = clinic.newest(CREATININE)
    clinic.change(creatinine, status="entered-in-error")
    clinic.run()
    clinic.change(creatinine)
    assert clinic.run()["review"] == []
    back = next(r for r in clinic.ours("RiskAssessment") if r["id"] == risk["id"])
    assert (back["status"], back["meta"].get("tag")) == ("final", risk["meta"].get("tag"))
    assert "back" in back["note"][-1]["text"]


def test_newer_readings_leave_the_old_result_as_it_was(clinic: Clinic) -> None:
    clinic.run()
    (before,) = clinic.ours("RiskAssessment")
    creatinine = clinic.newest(CREATININE)
    day = clinic.sandbox.store.now().date()
    value = {**creatinine["valueQuantity"], "value": creatinine["valueQuantity"]["value"] * 1.3}
    added = {**creatinine, "id": "added", "effectiveDateTime": f"{day}T00:00:00Z"}
    clinic.sandbox.store.put("Observation", "added", {**added, "valueQuantity": value})
    clinic.before |= {"added"}
    assert clinic.run()["corrected"] == {}
    first, second = clinic.ours("RiskAssessment")
    assert first == before
    origin = next(p for p in clinic.ours("Provenance") if second["id"] in str(p["target"]))
    what = [e["what"]["reference"] for e in origin["entity"] if e["role"] == "revision"]
    assert what == [f"RiskAssessment/{before['id']}"]


def test_what_a_person_withdrew_stays_withdrawn(clinic: Clinic) -> None:
    clinic.run()
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(risk, status="entered-in-error")
    clinic.run()
    assert [r["status"] for r in clinic.ours("RiskAssessment")] == ["entered-in-error"]


def test_duplicates_are_withdrawn_and_reported_once(clinic: Clinic) -> None:
    """As a server leaves them whose conditional create races."""
    clinic.run("--model", "prevent")
    (risk,) = clinic.ours("RiskAssessment")
    clinic.sandbox.store.put("RiskAssessment", "again", {**risk, "id": "again"})
    assert clinic.run("--model", "prevent")["corrected"] == {"duplicates-withdrawn": 1}
    statuses = {r["id"]: r["status"] for r in clinic.ours("RiskAssessment")}
    assert statuses == {risk["id"]: "preliminary", "again": "entered-in-error"}
    assert clinic.run("--model", "prevent")["corrected"] == {}
    assert [event.outcome for event in audited("duplicates-withdrawn")] == ["prevent:1"]


def add_reading(clinic: Clinic, number: int) -> None:
    """A newer creatinine than all there are."""
    creatinine = clinic.newest(CREATININE)
    day = clinic.sandbox.store.now().date()
    quantity = creatinine["valueQuantity"]
    value = {**quantity, "value": quantity["value"] * (1 + number / 10)}
    added = {"id": f"added-{number}", "effectiveDateTime": f"{day}T0{number}:00:00Z"}
    clinic.before |= {added["id"]}
    clinic.sandbox.store.put(
        "Observation", added["id"], {**creatinine, **added, "valueQuantity": value}
    )


@pytest.mark.slow
def test_a_result_of_long_ago_falls_with_its_input(clinic: Clinic) -> None:
    """However many versions have come since."""
    clinic.monkeypatch.setattr(earlier, "VERSIONS", 1)
    first = clinic.newest(CREATININE)
    clinic.run("--model", "prevent")
    (risk,) = clinic.ours("RiskAssessment")
    for number in (1, 2, 3):
        add_reading(clinic, number)
        clinic.run("--model", "prevent")
    clinic.change(first, status="entered-in-error")
    clinic.run("--model", "prevent")
    statuses = {r["id"]: r["status"] for r in clinic.ours("RiskAssessment")}
    assert statuses.pop(risk["id"]) == "entered-in-error"
    assert set(statuses.values()) == {"preliminary"}


@pytest.mark.slow
def test_a_server_with_another_name_in_the_configuration_is_the_same_chart(
    clinic: Clinic,
) -> None:
    clinic.run("--model", "prevent")
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    clinic.monkeypatch.setenv("TWINPORT_SERVERS__CLINIC__BASE_URL", clinic.sandbox.base_url)
    ran = clinic.shell("run", "--server", "clinic", "--patient", PATIENT, "--model", "prevent")
    assert ran.code == 0, ran.err
    before = next(r for r in clinic.ours("RiskAssessment") if r["id"] == risk["id"])
    assert before["status"] == "entered-in-error"


def test_what_a_person_did_not_accept_stays_as_it_is(clinic: Clinic) -> None:
    """`cancelled` is not in force, and is no error of an input."""
    clinic.run("--model", "prevent")
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(risk, status="cancelled")
    (before,) = clinic.ours("RiskAssessment")
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    summary = clinic.run("--model", "prevent")
    assert before in clinic.ours("RiskAssessment")
    assert (summary["corrected"], summary["review"], summary["unmarked"]) == ({}, [], [])


def test_a_dry_run_corrects_nothing(clinic: Clinic) -> None:
    clinic.run()
    clinic.change(clinic.newest(CREATININE), status="entered-in-error")
    before = clinic.results()
    clinic.run("--dry-run")
    assert clinic.results() == before
    assert clinic.run()["corrected"] == {"withdrawn": 2}  # and the next one catches up


def test_models_that_read_nothing_new_are_not_asked_again(clinic: Clinic) -> None:
    day = ("--as-of", str(clinic.sandbox.store.now().date()))
    models = len(clinic.run(*day)["assessments"])
    again = clinic.run(*day)["counts"]
    assert (again["models-asked"], again["models-unaffected"]) == (0, models)
    creatinine = clinic.newest(CREATININE)
    quantity = creatinine["valueQuantity"]
    clinic.change(creatinine, valueQuantity={**quantity, "value": quantity["value"] * 1.5})
    changed = clinic.run(*day)
    assert 0 < changed["counts"]["models-asked"] < models
    assert changed["corrected"] == {"superseded": 2}
