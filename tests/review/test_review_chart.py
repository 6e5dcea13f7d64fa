"""A decision on its way into the chart: once, and on what was looked at."""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from flask import Request, Response
from review_scene import Scene, clinician, scene

from mappings.to_fhir import Reviewed, is_open, reviewed
from service.fhir.look import Found
from service.review.chart import Outcome
from service.review.desk import ReviewError
from service.stores.own import OwnFilter, OwnStore
from service.stores.reviews import Charted, Decision, ReviewRow

ME, OTHER = clinician("one"), clinician("two")
ACCEPT = {"decision": Decision.ACCEPTED}
OVERRIDE = {"decision": Decision.OVERRIDDEN, "reason": "not-counted"}


def looked(clinic: Scene, estimate: float | None = None) -> Any:
    """An answer that I have estimated and seen."""
    asked = clinic.asked()
    clinic.desk.estimate(asked, ME, estimate)
    return asked


def provenances(clinic: Scene) -> list[dict[str, Any]]:
    """Those of people."""
    return [p for p in clinic.ours("Provenance") if "identifier" in p["agent"][0]["who"]]


def own(clinic: Scene, twin: str) -> list[str]:
    store = OwnStore(clinic.service.runtime.database)
    found, _ = store.search(OwnFilter(type="RiskAssessment", twins=[twin]), limit=9, after=None)
    return [str(clinic.service.fhir_resource(o.type, o.id).resource["status"]) for o in found]


# -- accepted --------------------------------------------------------------------------------------


def test_an_accepted_result_is_final_with_who_and_why(clinic: Scene) -> None:
    asked = looked(clinic)
    assert clinic.desk.decide(asked, ME, **ACCEPT, comment="As we said.") is Outcome.WRITTEN
    risk = clinic.risk()
    assert risk["status"] == "final"
    assert risk["note"][-1]["authorString"] == "ehr:one"
    assert risk["note"][-1]["text"] == (
        "Reviewed and accepted by a clinician. Comment: As we said."
    )
    assert "final, reviewed by a clinician" in risk["text"]["div"]
    assert "preliminary" not in risk["text"]["div"]
    assert risk["meta"]["security"][0]["code"] == "AIAST"  # a review makes it no person's number
    (made,) = provenances(clinic)
    assert made["target"] == [{"reference": f"RiskAssessment/{risk['id']}"}]
    assert made["agent"][0]["type"]["coding"][0]["code"] == "verifier"
    assert made["agent"][0]["who"]["identifier"]["value"] == "ehr:one"
    assert own(clinic, asked.twin) == ["final"]


def test_what_is_written_is_valid_fhir(clinic: Scene) -> None:
    clinic.desk.decide(looked(clinic), ME, **ACCEPT)
    for resource in (clinic.risk(), *provenances(clinic)):
        get_fhir_model_class(resource["resourceType"]).model_validate(copy.deepcopy(resource))


def test_nothing_else_in_the_result_changes(clinic: Scene) -> None:
    asked = looked(clinic)
    before = clinic.risk()
    clinic.desk.decide(asked, ME, **ACCEPT)
    after = clinic.risk()
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed == {"meta", "note", "status", "text"}


@pytest.mark.slow
@pytest.mark.parametrize(("decision", "status"), [(ACCEPT, "final"), (OVERRIDE, "cancelled")])
def test_the_next_run_writes_nothing_and_takes_nothing_back(
    running: Scene, decision: dict[str, Any], status: str
) -> None:
    asked = looked(running)
    running.desk.decide(asked, ME, **decision)
    before = running.risk()
    assert before["status"] == status
    assert running.run() == asked.twin
    assert running.risk() == before
    assert own(running, asked.twin) == [status]
    assert len(provenances(running)) == 1


# -- not accepted ----------------------------------------------------------------------------------


def test_a_result_not_accepted_is_cancelled_with_the_reason(clinic: Scene) -> None:
    asked = looked(clinic)
    assert clinic.desk.decide(asked, ME, **OVERRIDE, own=0.2) is Outcome.WRITTEN
    risk = clinic.risk()
    assert risk["status"] == "cancelled"
    assert risk["note"][-1]["text"] == (
        "Reviewed and not accepted by a clinician: something it does not count matters here."
    )
    assert "not accepted by a clinician" in risk["text"]["div"]
    assert own(clinic, asked.twin) == ["cancelled"]


@pytest.mark.slow
def test_a_result_not_accepted_stays_as_it_is_when_an_input_is_withdrawn(running: Scene) -> None:
    clinic = running
    asked = looked(clinic)
    clinic.desk.decide(asked, ME, **OVERRIDE)
    before = clinic.risk()
    used = before["basis"][0]["reference"].split("/", 1)
    resource = next(r for r in clinic.sandbox.resources(used[0]) if r["id"] == used[1])
    clinic.sandbox.store.put(*used, {**resource, "status": "entered-in-error"})
    clinic.run()
    assert before in clinic.ours("RiskAssessment")


# -- somebody else ---------------------------------------------------------------------------------


def test_a_result_that_somebody_made_final_in_the_chart_is_a_conflict(clinic: Scene) -> None:
    asked = looked(clinic)
    theirs = {**clinic.risk(), "status": "final"}
    clinic.sandbox.store.put("RiskAssessment", theirs["id"], theirs)
    before = clinic.risk()
    assert clinic.desk.decide(asked, ME, **OVERRIDE, comment="No.") is Outcome.CHANGED
    assert clinic.risk() == before
    assert clinic.desk.standing(asked, ME).decided is None
    assert clinic.uses()[-2:] == [
        "review-override prevent:not-counted",
        "review-undone prevent:changed-meanwhile",
    ]


def test_a_change_between_the_look_and_the_write_is_a_conflict(clinic: Scene) -> None:
    asked = looked(clinic)

    def meddle(request: Request) -> Response | None:
        if request.method == "PUT":
            clinic.persona.interrupt = lambda _: None
            risk = clinic.risk()
            clinic.sandbox.store.put("RiskAssessment", risk["id"], {**risk, "language": "en"})
        return None

    clinic.persona.interrupt = meddle
    assert clinic.desk.decide(asked, ME, **ACCEPT) is Outcome.CHANGED
    assert (clinic.risk()["status"], clinic.risk()["language"]) == ("preliminary", "en")
    # Having looked, the clinician decides again.
    assert clinic.desk.decide(asked, ME, **ACCEPT) is Outcome.WRITTEN
    assert clinic.risk()["status"] == "final"


def test_another_process_of_ours_that_was_faster_is_no_conflict(clinic: Scene) -> None:
    """The same decision, written by the sweeper between our look and our write."""
    asked = looked(clinic)

    def sweep(request: Request) -> Response | None:
        if request.method == "PUT":
            clinic.persona.interrupt = lambda _: None
            assert clinic.desk.finish() == 0  # a decision this young is in the page's hands
            assert clinic.desk.finish(older=timedelta(0)) == 1
        return None

    clinic.persona.interrupt = sweep
    assert clinic.desk.decide(asked, ME, **ACCEPT) is Outcome.WRITTEN
    assert clinic.risk()["status"] == "final"
    assert len(provenances(clinic)) == 1
    assert clinic.desk.standing(asked, ME).decided.chart is Charted.WRITTEN


def test_one_result_is_decided_once(clinic: Scene) -> None:
    asked = looked(clinic)
    clinic.desk.estimate(asked, OTHER, None)
    clinic.desk.decide(asked, ME, **ACCEPT)
    with pytest.raises(ReviewError, match="decided-already"):
        clinic.desk.decide(asked, OTHER, **OVERRIDE)
    assert clinic.risk()["status"] == "final"


# -- a server in trouble ---------------------------------------------------------------------------


def test_a_server_that_is_away_gets_the_decision_later(clinic: Scene) -> None:
    asked = looked(clinic)
    clinic.persona.interrupt = lambda _: Response(status=503)
    secret = "Her sister Jane has it too"
    assert clinic.desk.decide(asked, ME, **ACCEPT, comment=secret) is Outcome.AWAY
    assert clinic.risk()["status"] == "preliminary"
    assert own(clinic, asked.twin) == ["final"]
    assert clinic.desk.standing(asked, ME).decided.chart is Charted.PENDING
    assert secret.encode() not in clinic.database()
    clinic.persona.interrupt = lambda _: None
    assert clinic.desk.finish(older=timedelta(0)) == 1
    assert clinic.risk()["status"] == "final"
    assert secret in clinic.risk()["note"][-1]["text"]
    assert clinic.desk.standing(asked, ME).decided.chart is Charted.WRITTEN
    assert clinic.store.pending(9) == []


def test_a_lost_answer_is_not_written_twice(clinic: Scene) -> None:
    """The server did it, and we never heard."""
    asked = looked(clinic)
    clinic.desk.decide(asked, ME, **ACCEPT)
    review = clinic.desk.standing(asked, ME).decided
    with clinic.service.runtime.database.write() as session:
        session.get(ReviewRow, review.id).chart = Charted.PENDING
    before = clinic.risk()
    assert clinic.desk.finish(older=timedelta(0)) == 1
    assert clinic.risk() == before
    assert len(provenances(clinic)) == 1


def test_a_server_that_refuses_is_told_and_not_asked_again(clinic: Scene) -> None:
    asked = looked(clinic)
    clinic.persona.interrupt = lambda r: Response(status=422) if r.method == "PUT" else None
    assert clinic.desk.decide(asked, ME, **ACCEPT) is Outcome.REFUSED
    assert clinic.desk.standing(asked, ME).decided.chart is Charted.REFUSED
    assert clinic.store.pending(9) == []


def test_a_server_that_takes_no_provenance_has_the_note(clinic: Scene) -> None:
    asked = looked(clinic)
    clinic.persona.interrupt = lambda r: (
        Response(status=422) if r.path.endswith("/Provenance") and r.method == "POST" else None
    )
    assert clinic.desk.decide(asked, ME, **ACCEPT) is Outcome.WRITTEN
    assert provenances(clinic) == []
    assert "accepted by a clinician" in clinic.risk()["note"][-1]["text"]


# -- other forms -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "kind", "said"),
    [
        ("observation", "Observation", {"status": "final"}),
        ("document", "DocumentReference", {"status": "current", "docStatus": "final"}),
    ],
)
def test_each_form_of_a_result_can_be_accepted(tmp_path, form: str, kind: str, said: Any) -> None:
    with scene(tmp_path / "home", {"TWINPORT_SERVERS__EHR__WRITE_AS": form}) as clinic:
        clinic.run()
        asked = looked(clinic)
        assert clinic.desk.decide(asked, ME, **ACCEPT) is Outcome.WRITTEN
        (result,) = [r for r in clinic.ours(kind) if "prevent" in str(r["identifier"]) or
                     "PREVENT" in str(r)]  # fmt: skip
        assert {key: result[key] for key in said} == said
        get_fhir_model_class(kind).model_validate(copy.deepcopy(result))


def test_a_document_that_was_not_accepted_is_not_left_preliminary() -> None:
    decision = Reviewed("r1", "overridden", "ehr:one", datetime(2026, 6, 1, tzinfo=UTC))
    document = {"resourceType": "DocumentReference", "id": "d", "status": "current",
                "docStatus": "preliminary"}  # fmt: skip
    assert is_open(document)
    after = reviewed(document, decision)
    assert (after["status"], after["docStatus"]) == ("current", "entered-in-error")
    found = Found("DocumentReference/d", after)
    assert not is_open(after)
    assert (found.set_aside, found.accepted) == (True, False)  # and so no later run touches it


@pytest.mark.slow
def test_a_result_that_was_never_written_is_decided_here_alone(tmp_path) -> None:
    with scene(tmp_path / "home", {"TWINPORT_SERVERS__EHR__WRITE_BACK": "false"}) as clinic:
        clinic.run()
        asked = looked(clinic)
        assert not clinic.desk.in_a_chart(asked.about)
        assert clinic.desk.decide(asked, ME, **ACCEPT, comment="Kept?") is Outcome.NOTHING_THERE
        assert clinic.ours("RiskAssessment") == []
        assert own(clinic, asked.twin) == ["final"]
        assert clinic.desk.standing(asked, ME).decided.chart is Charted.NONE


# -- comments --------------------------------------------------------------------------------------


def test_a_comment_is_in_the_chart_and_nowhere_else(clinic: Scene) -> None:
    asked = looked(clinic)
    secret = "Ask Dr Miller, 555-0199"
    clinic.desk.decide(asked, ME, **ACCEPT, comment=secret)
    assert secret in clinic.risk()["note"][-1]["text"]
    assert secret.encode() not in clinic.database()
    assert secret not in str(clinic.uses())
    for kind in ("RiskAssessment", "Provenance"):
        found, _ = OwnStore(clinic.service.runtime.database).search(
            OwnFilter(type=kind, twins=[asked.twin]), limit=9, after=None
        )
        assert secret not in str([o.content for o in found])
