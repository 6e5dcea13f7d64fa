"""The pause: whose number waits for whom, what is kept, and what cannot be decided."""

import pytest
from flask import Response
from review_scene import Scene, clinician

from service.auth import Kind, Principal, Role
from service.auth.principals import ROLE_SCOPES
from service.config.sections import Reviews
from service.reidentify.desk import Desk
from service.review.desk import ReviewError, pauses
from service.stores.reviews import Charted, Decision
from twin_engine.models.registry import get

ME, OTHER = clinician("one"), clinician("two")
OFFICER = Principal(
    Role.PRIVACY_OFFICER, ROLE_SCOPES[Role.PRIVACY_OFFICER], "officer", Kind.API_KEY
)


def test_much_hangs_on_it_so_an_estimate_comes_first(clinic: Scene) -> None:
    asked = clinic.asked()
    assert clinic.desk.standing(asked, ME).hidden
    clinic.desk.estimate(asked, ME, 0.08)
    assert not clinic.desk.standing(asked, ME).hidden
    assert clinic.desk.standing(asked, OTHER).hidden
    clinic.desk.decide(asked, ME, Decision.ACCEPTED, reason="range-covers")
    assert not clinic.desk.standing(asked, OTHER).hidden  # what is decided is shown to everybody


def test_little_hangs_on_it_so_it_is_shown_at_once(clinic: Scene) -> None:
    asked = clinic.asked("ckd-epi-2021")
    assert not clinic.desk.standing(asked, ME).hidden
    clinic.desk.decide(asked, ME, Decision.ACCEPTED)
    assert clinic.desk.standing(asked, ME).decided.agreed == "none"


def test_a_clinician_may_have_no_estimate(clinic: Scene) -> None:
    asked = clinic.asked()
    clinic.desk.estimate(asked, ME, None)
    mine = clinic.desk.standing(asked, ME).mine
    assert (mine.estimate, mine.agreed) == (None, "none")


def test_the_first_estimate_stands(clinic: Scene) -> None:
    """What was seen cannot be unseen."""
    asked = clinic.asked()
    clinic.desk.estimate(asked, ME, 0.5)
    first = clinic.desk.standing(asked, ME).mine
    clinic.desk.estimate(asked, ME, first.value)
    assert clinic.desk.standing(asked, ME).mine == first
    assert clinic.uses() == ["review-estimate prevent:done"]


@pytest.mark.slow
def test_new_inputs_are_a_new_question(running: Scene) -> None:
    clinic = running
    asked = clinic.asked()
    clinic.desk.estimate(asked, ME, 0.05)
    weight = next(
        r
        for r in sorted(clinic.sandbox.resources("Observation"), key=lambda r: r["id"])
        if any(c.get("code") == "39156-5" for c in r["code"]["coding"])
    )
    newest = max(
        (r for r in clinic.sandbox.resources("Observation") if r["code"] == weight["code"]),
        key=lambda r: str(r["effectiveDateTime"]),
    )
    changed = {**newest["valueQuantity"], "value": newest["valueQuantity"]["value"] + 2}
    clinic.sandbox.store.put("Observation", newest["id"], {**newest, "valueQuantity": changed})
    clinic.run()
    assert clinic.desk.standing(clinic.asked(), ME).hidden


@pytest.mark.parametrize(
    ("settings", "waiting"),
    [
        (Reviews(), {"prevent"}),
        (Reviews(pause="never"), set()),
        (Reviews(pause="always"), {"prevent", "ckd-epi-2021"}),
        (Reviews(shown_at_once=("prevent",)), set()),
        (Reviews(pause="never", paused=("ckd-epi-2021",)), {"ckd-epi-2021"}),
        (Reviews(pause="always", shown_at_once=("prevent", "ckd-epi-2021")), set()),
    ],
)
def test_the_pause_is_configured_by_model(settings: Reviews, waiting: set[str]) -> None:
    models = [get("prevent"), get("ckd-epi-2021")]
    assert {model.id for model in models if pauses(settings, model)} == waiting


# -- what cannot be decided ------------------------------------------------------------------------


def refused(clinic: Scene, who: Principal, **decision: object) -> str:
    asked = clinic.asked()
    if who is not None and decision.pop("looked", True):
        clinic.desk.estimate(asked, who, decision.pop("estimate", None))
    with pytest.raises(ReviewError) as error:
        clinic.desk.decide(asked, who, **decision)
    assert clinic.risk()["status"] == "preliminary"
    assert clinic.desk.standing(asked, who).decided is None
    return error.value.code


def test_nobody_decides_on_what_they_have_not_seen(clinic: Scene) -> None:
    assert refused(clinic, ME, decision=Decision.ACCEPTED, looked=False) == "estimate-first"


def test_who_differs_says_why(clinic: Scene) -> None:
    assert refused(clinic, ME, decision=Decision.ACCEPTED, estimate=0.9) == "reason-needed"


@pytest.mark.parametrize("reason", [None, "", "range-covers", "because of Jane"])
def test_who_does_not_accept_says_why_in_a_word_of_ours(clinic: Scene, reason) -> None:
    code = refused(clinic, ME, decision=Decision.OVERRIDDEN, reason=reason or None)
    assert code == "reason-needed"


@pytest.mark.parametrize(
    "who",
    [
        Principal(Role.EHR, ROLE_SCOPES[Role.EHR], "ehr.some-program", Kind.API_KEY),
        Principal(Role.EHR, ROLE_SCOPES[Role.EHR], "ehr.of-one-session", Kind.SESSION),
    ],
)
def test_only_a_person_who_is_known_decides(clinic: Scene, who: Principal) -> None:
    assert refused(clinic, who, decision=Decision.ACCEPTED) == "person-needed"


def test_erasure_destroys_what_waits_for_the_chart(clinic: Scene) -> None:
    asked = clinic.asked()
    clinic.desk.estimate(asked, ME, None)
    clinic.persona.interrupt = lambda _: Response(status=503)
    clinic.desk.decide(asked, ME, Decision.ACCEPTED, comment="sealed")
    runtime = clinic.service.runtime
    Desk(runtime.database, runtime.vault, runtime.signer).erase(OFFICER, asked.twin)
    decided = clinic.desk.standing(asked, ME).decided
    assert (decided.chart, decided.sealed_comment) == (Charted.NONE, None)
    assert clinic.store.pending(9) == []
