"""What a chart holds of a model that makes no estimate, where the server's administrator wants it:
that there is none, and why; never a number, once, and in step with results that come and go."""

import copy
from typing import Any

import pytest
from refresh_clinic import CREATININE, Clinic, Open
from test_refresh_chart import audited
from test_refresh_ladder import RUNGS, Taking
from test_refresh_transcripts import PAGES, Transcript

from service.pipeline.runtime import open_runtime
from service.sandbox.personas import PERSONAS
from service.stores.own import OwnFilter, OwnStore

Json = dict[str, Any]
PREVENT = ("--model", "prevent")
GIVEN = "RiskAssessment preliminary valued"
LAPSED = f"{GIVEN} superseded"
REFUSED = "RiskAssessment cancelled - no-estimate"
RUNG_BY_RUNG = {
    "observation": [
        "Observation cancelled - no-estimate",
        "Observation preliminary - superseded",
        "Observation cancelled - no-estimate superseded",
        "Observation preliminary -",
    ],
    "document": [
        "DocumentReference current - no-estimate",
        "DocumentReference superseded - superseded",
        "DocumentReference current -",
        "DocumentReference superseded - no-estimate superseded",
    ],
}
WITHDRAWN = "RiskAssessment entered-in-error valued superseded withdrawn"


def asked(clinic: Clinic) -> Clinic:
    clinic.configure(write_refusals="true")
    return clinic


def chart(clinic: Clinic) -> list[str]:
    """Type, status, whether there is a number, tags."""
    return sorted(map(_line, [*clinic.results(), *clinic.ours("DocumentReference")]))


def _line(resource: Json) -> str:
    tags = [tag["code"] for tag in resource["meta"].get("tag", ())]
    valued = "valued" if {"prediction", "valueQuantity"} & resource.keys() else "-"
    return " ".join([resource["resourceType"], resource["status"], valued, *tags])


def beyond_the_range(clinic: Clinic) -> Json:
    """A newer creatinine, and with it an eGFR, with which the model was never tried."""
    before = clinic.newest(CREATININE)
    day = clinic.sandbox.store.now().date()
    quantity = {**before["valueQuantity"], "value": 900}
    added = {**before, "id": "added", "effectiveDateTime": f"{day}T00:00:00Z"}
    clinic.sandbox.store.put("Observation", "added", {**added, "valueQuantity": quantity})
    clinic.before |= {"added"}
    return added


def test_no_refusal_is_written_where_nobody_asked_for_it(clinic: Clinic) -> None:
    clinic.run("--model", "kfre", "--model", "fib4")
    assert chart(clinic) == []


def test_a_refusal_comes_and_goes_with_the_results(clinic: Clinic) -> None:
    asked(clinic).run(*PREVENT)
    assert chart(clinic) == [GIVEN]

    # On newer readings the model makes no estimate: the older one was right when it was made.
    beyond_the_range(clinic)
    assert clinic.run(*PREVENT)["corrected"] == {"superseded": 1}
    assert chart(clinic) == [REFUSED, LAPSED]
    refusal = next(r for r in clinic.ours("RiskAssessment") if r["status"] == "cancelled")
    assert "No estimate was made by AHA PREVENT" in refusal["note"][0]["text"]
    assert any("eGFR" in note["text"] for note in refusal["note"])
    assert clinic.run(*PREVENT)["counts"]["written"] == 0
    assert chart(clinic) == [REFUSED, LAPSED]

    # The reading is gone: the first result holds again, and the refusal is a thing of the past.
    clinic.sandbox.store.delete("Observation", "added")
    assert clinic.run(*PREVENT)["corrected"] == {"restored": 1, "superseded": 1}
    assert chart(clinic) == [f"{REFUSED} superseded", GIVEN]

    # And back: the same refusal, without a second resource, and still without a number.
    beyond_the_range(clinic)
    assert clinic.run(*PREVENT)["corrected"] == {"restored": 1, "superseded": 1}
    assert chart(clinic) == [REFUSED, LAPSED]

    # What the older result rested on was wrong all along.
    pressure = clinic.newest("85354-9")
    clinic.change(pressure, status="entered-in-error")
    clinic.run(*PREVENT)
    assert WITHDRAWN in chart(clinic)
    assert {e.outcome for e in audited("result-superseded")} >= {"prevent:newer-inputs"}


def test_what_a_person_accepted_is_left_alone_by_a_refusal(clinic: Clinic) -> None:
    asked(clinic).run(*PREVENT)
    (risk,) = clinic.ours("RiskAssessment")
    clinic.change(risk, status="final")
    accepted = copy.deepcopy(clinic.ours("RiskAssessment")[0])
    beyond_the_range(clinic)
    assert clinic.run(*PREVENT)["corrected"] == {}
    assert accepted in clinic.ours("RiskAssessment")
    # But it is still watched over: an input that was wrong is a matter for a person.
    clinic.change(clinic.newest("85354-9"), status="entered-in-error")
    assert clinic.run(*PREVENT)["review"] == ["prevent"]


def test_our_own_facade_says_it_too(clinic: Clinic) -> None:
    twin = asked(clinic).run("--model", "kfre")["twin"]
    runtime = open_runtime()
    where = OwnFilter(type="RiskAssessment", twins=[twin])
    (own,), _ = OwnStore(runtime.database).search(where, limit=9, after=None)
    runtime.close()
    assert b'"cancelled"' in own.content
    assert b"no-estimate" in own.content


@pytest.mark.slow
@pytest.mark.parametrize("rung", ["observation", "document"])
def test_a_refusal_goes_down_the_ladder(open_clinic: Open, rung: str) -> None:
    kinds = RUNGS[rung][0]
    clinic = asked(open_clinic(Taking(*kinds)))
    clinic.run(*PREVENT)
    beyond_the_range(clinic)
    clinic.run(*PREVENT)
    assert chart(clinic) == RUNG_BY_RUNG[rung][:2]
    clinic.sandbox.store.delete("Observation", "added")
    clinic.run(*PREVENT)
    assert chart(clinic) == RUNG_BY_RUNG[rung][2:]


@pytest.mark.slow
def test_the_golden_transcript_with_refusals(open_clinic: Open, request: Any) -> None:
    """Read it: `tests/refresh/transcripts/with-refusals/medplum.txt`."""
    clinic = asked(open_clinic(PERSONAS["medplum"]()))
    four = ("ckd-epi-2021", "prevent", "kfre", "fib4")
    told = Transcript(clinic, 0.0, *(word for model in four for word in ("--model", model)))
    told.step("first run")
    told.step("run again: nothing new")
    beyond_the_range(clinic)
    told.step("a newer creatinine beyond the range of PREVENT")
    clinic.sandbox.store.delete("Observation", "added")
    told.step("that creatinine deleted")
    for reading in clinic.readings(CREATININE):
        clinic.change(reading, status="entered-in-error")
    told.step("every creatinine entered in error")
    told.step("run again: nothing new")
    text = "\n".join(["# medplum, with `write_refusals`\n", *told.lines])
    page = PAGES / "with-refusals" / "medplum.txt"
    if request.config.getoption("--transcripts"):
        page.write_text(text, encoding="utf-8")
    assert text == page.read_text(encoding="utf-8")
