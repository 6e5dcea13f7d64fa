"""A server that lets results be created and not be changed: a notice beside each result that no
longer holds, once, in the best form there is; and what becomes of it."""

from collections.abc import Mapping
from typing import Any

import pytest
from refresh_clinic import CREATININE, Clinic, Open, chart_of
from sqlalchemy import update
from test_refresh_chart import audited
from test_refresh_ladder import READ
from test_refresh_transcripts import PAGES, Transcript

from service.fhir.outbox import OutboxState
from service.pipeline.runtime import open_runtime
from service.pipeline.service import Service
from service.refresh.correct import Done
from service.sandbox.errors import FhirError
from service.sandbox.persona import Persona
from service.stores.tables import OutboxRow
from service.stores.watches import NoticeStore

Json = dict[str, Any]
PREVENT = ("--model", "prevent")
RESULTS = ("RiskAssessment", "Observation", "DocumentReference")


class Unchanging(Persona):
    """Lets these types be created, and nothing be changed. `says_so`: in its statement, too."""

    def __init__(self, *kinds: str, status: int = 405, says_so: bool = False) -> None:
        self.status, self.refusing = status, True
        letters = "crs" if says_so else "crus"
        rights = dict.fromkeys((*READ, "Observation"), "rs")
        rights |= dict.fromkeys((*kinds, "Device", "Provenance"), letters)
        self.offers: Mapping[str, str] | None = rights if kinds else None

    def update(self, kind: str, resource: Json) -> Json:
        if self.refusing:
            raise FhirError(self.status, "not-supported" if self.status == 405 else "forbidden", "")
        return resource


def withdraw(clinic: Clinic) -> Json:
    """The newest creatinine; as it was before."""
    before = clinic.newest(CREATININE)
    clinic.change(before, status="entered-in-error")
    return before


def notices(clinic: Clinic, kind: str) -> list[Json]:
    return [one for one in clinic.ours(kind) if _codes(one) & {"no-longer-holds", "holds-again"}]


def _codes(resource: Json) -> set[str]:
    return {tag["code"] for tag in (resource.get("meta") or {}).get("tag", ())}


def stale(twin: str) -> list[tuple[str, Done]]:
    """As the clinician's page has it, and as the levels count it."""
    runtime = open_runtime()
    found = Service(runtime).reviews.stale([twin])
    levels = Service(runtime).levels()
    runtime.close()
    names = {
        Done.REVIEW: "twinport_results_to_review",
        Done.FLAGGED: "twinport_results_flagged_beside",
    }
    for done, name in names.items():
        assert levels[name] == sum(one.done is done for one in found)
    unseen = [one for one in found if one.done not in names]
    assert levels["twinport_results_unmarked"] == len(unseen)
    return [(one.model, one.done) for one in found]


def words(action: str) -> list[str]:
    return sorted(event.outcome for event in audited(action))


# -- what stands there --------------------------------------------------------------------------


def test_a_flag_says_what_no_longer_holds_and_where_it_stands(open_clinic: Open) -> None:
    clinic = open_clinic(Unchanging())
    twin = clinic.run(*PREVENT)["twin"]
    assert stale(twin) == []
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(risk, status="final")
    withdraw(clinic)
    for _ in range(3):  # told again by each run; written once
        summary = clinic.run(*PREVENT)
        assert (summary["flagged"], summary["unmarked"]) == (["prevent"], [])
        (flag,) = notices(clinic, "Flag")
    untouched = next(r for r in clinic.ours("RiskAssessment") if r["id"] == risk["id"])
    assert untouched["status"] == "final"
    about = {e["valueReference"]["reference"] for e in flag["extension"]}
    assert about == {f"RiskAssessment/{risk['id']}"}
    assert (flag["status"], flag["subject"]) == ("active", risk["subject"])
    text = flag["code"]["text"]
    assert text.startswith(f"This result no longer holds: {risk['method']['text']}, ")
    for said in ("an input was withdrawn", "Do not rely on it", "A clinician had accepted it"):
        assert said in text
        assert said in flag["text"]["div"]
    assert "%" not in text  # no number of the result's
    (origin,) = [p for p in clinic.ours("Provenance") if flag["id"] in str(p["target"])]
    assert [(e["role"], e["what"]["reference"]) for e in origin["entity"]] == [
        ("source", f"RiskAssessment/{risk['id']}")
    ]
    assert stale(twin) == [("prevent", Done.FLAGGED)]


def test_one_notice_one_word_in_the_audit_one_message(open_clinic: Open) -> None:
    clinic = open_clinic(Unchanging())
    clinic.monkeypatch.setenv("TWINPORT_WATCH__TELL_URL", "https://example.invalid/told")
    clinic.run()
    withdraw(clinic)
    clinic.run()
    clinic.run()
    assert words("result-flagged-beside") == [
        "ckd-epi-2021:input-withdrawn",
        "prevent:input-withdrawn",
    ]
    told = [word for word in words("write-back") if "no-longer-holds" in word]
    assert told == [
        "ckd-epi-2021:no-longer-holds-flag:first-choice",
        "prevent:no-longer-holds-flag:first-choice",
    ]
    runtime = open_runtime()
    waiting = NoticeStore(runtime.database).waiting()
    runtime.close()
    assert waiting == 2


FORMS: Mapping[str, tuple[str, ...]] = {
    "flag": ("RiskAssessment", "Observation", "Flag", "DocumentReference"),
    "document": ("RiskAssessment", "Observation", "DocumentReference"),
    "result": ("RiskAssessment", "Observation", "Communication"),
}


@pytest.mark.slow
def test_in_the_list_of_results_the_newest_in_force_is_met_first(open_clinic: Open) -> None:
    """A newer result where there is one; else the notice, without a number."""
    clinic = open_clinic(Unchanging("RiskAssessment", "Observation"))
    clinic.run(*PREVENT)
    (risk,) = clinic.ours("RiskAssessment")
    for reading in clinic.readings(CREATININE):
        clinic.change(reading, status="entered-in-error")
    clinic.run(*PREVENT)
    (notice,) = notices(clinic, "RiskAssessment")
    newer = [r for r in clinic.ours("RiskAssessment") if r["id"] not in (risk["id"], notice["id"])]
    assert (notice["status"], len(newer)) in (("preliminary", 0), ("cancelled", 1))
    assert "prediction" not in notice
    assert notice["method"] == risk["method"]
    (origin,) = [p for p in clinic.ours("Provenance") if notice["id"] in str(p["target"])]
    assert [e["role"] for e in origin["entity"]] == ["revision"]


@pytest.mark.slow
def test_a_document_is_replaced_by_the_notice(open_clinic: Open) -> None:
    clinic = open_clinic(Unchanging("DocumentReference"))
    clinic.run(*PREVENT)
    (document,) = clinic.ours("DocumentReference")
    withdraw(clinic)
    clinic.run(*PREVENT)
    (notice,) = notices(clinic, "DocumentReference")
    target = {"reference": f"DocumentReference/{document['id']}"}
    assert notice["relatesTo"] == [{"code": "replaces", "target": target}]
    assert notice["status"] == "current"


class Refusing(Unchanging):
    """Lists every type, and refuses to create any notice but a message."""

    def create(self, kind: str, resource: Json) -> Json:
        if kind != "Communication" and _codes(resource) & {"no-longer-holds"}:
            raise FhirError(422, "business-rule", "not here")
        return resource


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 404, 501])
def test_a_notice_goes_on_to_the_next_form_after_any_refusal(
    open_clinic: Open, status: int
) -> None:
    clinic = open_clinic(Refusing(status=status))
    clinic.run(*PREVENT)
    withdraw(clinic)
    assert clinic.run(*PREVENT)["flagged"] == ["prevent"]
    (message,) = notices(clinic, "Communication")
    assert "no longer holds" in message["payload"][0]["contentString"]
    assert "prevent:no-longer-holds-communication:refused" in words("write-back")


@pytest.mark.slow
def test_the_configuration_decides_on_the_form(open_clinic: Open) -> None:
    clinic = open_clinic(Unchanging())
    clinic.run(*PREVENT)
    withdraw(clinic)
    clinic.configure(notice_as="off")
    for _ in range(2):
        assert clinic.run(*PREVENT)["unmarked"] == ["prevent"]
    assert not notices(clinic, "Flag")
    clinic.configure(notice_as="document")
    summary = clinic.run(*PREVENT)
    assert (summary["flagged"], summary["unmarked"]) == (["prevent"], [])
    assert len(notices(clinic, "DocumentReference")) == 1
    assert words("result-unmarked") == ["prevent:input-withdrawn"]
    assert "prevent:no-longer-holds-document:configured" in words("write-back")


# -- what becomes of it -------------------------------------------------------------------------


@pytest.mark.slow
def test_when_the_change_is_allowed_the_mark_takes_the_place_of_the_notice(
    open_clinic: Open,
) -> None:
    persona = Unchanging()
    clinic = open_clinic(persona)
    twin = clinic.run()["twin"]
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(risk, status="final")
    withdraw(clinic)
    clinic.run()
    assert stale(twin) == [("ckd-epi-2021", Done.FLAGGED), ("prevent", Done.FLAGGED)]
    persona.refusing = False
    summary = clinic.run()
    assert (summary["flagged"], summary["review"]) == ([], ["prevent"])
    assert [flag["status"] for flag in notices(clinic, "Flag")] == ["inactive"] * 2
    assert stale(twin) == [("prevent", Done.REVIEW)]
    flagged = next(r for r in clinic.ours("RiskAssessment") if r["id"] == risk["id"])
    assert "needs-review" in _codes(flagged)
    before = chart_of(clinic)
    clinic.run()
    assert chart_of(clinic) == before
    clinic.change(flagged, status="entered-in-error")
    clinic.run()
    assert stale(twin) == []


@pytest.mark.slow
def test_what_a_person_withdrew_there_is_dealt_with(open_clinic: Open) -> None:
    clinic = open_clinic(Unchanging())
    twin = clinic.run(*PREVENT)["twin"]
    (risk,) = clinic.ours("RiskAssessment")
    withdraw(clinic)
    assert clinic.run(*PREVENT)["flagged"] == ["prevent"]
    clinic.change(risk, status="entered-in-error")
    assert clinic.run(*PREVENT)["flagged"] == []
    assert stale(twin) == []


@pytest.mark.slow
def test_a_server_that_fails_at_the_change_is_as_one_that_refuses_it(open_clinic: Open) -> None:
    """Not at once: the next run may find it well again."""
    persona = Unchanging(status=500)
    clinic = open_clinic(persona)
    twin = clinic.run(*PREVENT)["twin"]
    withdraw(clinic)
    assert clinic.run(*PREVENT)["unmarked"] == ["prevent"]
    assert [done for _, done in stale(twin)] == [Done.OPEN]
    assert not notices(clinic, "Flag")
    assert clinic.run(*PREVENT)["flagged"] == ["prevent"]
    assert len(notices(clinic, "Flag")) == 1
    persona.refusing = False
    assert clinic.run(*PREVENT)["corrected"]["withdrawn"] == 1
    assert [flag["status"] for flag in notices(clinic, "Flag")] == ["inactive"]
    assert stale(twin) == []


@pytest.mark.slow
@pytest.mark.parametrize("state", [OutboxState.PENDING, OutboxState.CONFIRMED])
def test_a_death_before_it_was_noted_makes_no_second_notice(
    open_clinic: Open, state: OutboxState
) -> None:
    """The notice stands there, and the process died before it wrote that down; or before it wrote
    down what that means for the result."""
    clinic = open_clinic(Unchanging())
    clinic.run(*PREVENT)
    withdraw(clinic)
    clinic.run(*PREVENT)
    runtime = open_runtime()
    with runtime.database.write() as session:
        session.execute(update(OutboxRow).values(state=state, detail=""))
    runtime.close()
    assert clinic.run(*PREVENT)["flagged"] == ["prevent"]
    assert len(notices(clinic, "Flag")) == 1
    assert len([p for p in clinic.ours("Provenance") if "Flag/" in str(p["target"])]) == 1


@pytest.mark.slow
def test_a_notice_that_could_not_be_sent_is_sent_by_the_next_run(open_clinic: Open) -> None:
    class Away(Unchanging):
        away = True

        def create(self, kind: str, resource: Json) -> Json:
            if self.away and kind == "Flag":
                raise FhirError(503, "transient", "later")
            return resource

    persona = Away()
    clinic = open_clinic(persona)
    clinic.run(*PREVENT)
    withdraw(clinic)
    assert clinic.run(*PREVENT)["unmarked"] == ["prevent"]
    persona.away = False
    assert clinic.run(*PREVENT)["flagged"] == ["prevent"]
    assert len(notices(clinic, "Flag")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_the_golden_transcript_where_nothing_may_be_changed(
    open_clinic: Open, request: Any, form: str
) -> None:
    """Read them: `tests/refresh/transcripts/unchanging/*.txt`."""
    persona = Unchanging(*FORMS[form], says_so=True)
    clinic = open_clinic(persona)
    told = Transcript(clinic, 0.0, *PREVENT)
    told.step("first run")
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(risk, status="final")
    before = withdraw(clinic)
    told.step("accepted by a clinician; then the creatinine entered in error")
    told.step("run again: nothing new")
    clinic.change(before)
    told.step("the creatinine is back")
    withdraw(clinic)
    told.step("and entered in error again")
    persona.refusing, persona.offers = False, None
    told.step("the server allows changes")
    told.step("run again: nothing new")
    told.lines += ["## the audit of what was written", *(f"- {w}" for w in words("write-back")), ""]
    text = f"# a server that lets nothing be changed: {form}\n\n" + "\n".join(told.lines)
    page = PAGES / "unchanging" / f"{form}.txt"
    if request.config.getoption("--transcripts"):
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding="utf-8")
    assert text == page.read_text(encoding="utf-8")
