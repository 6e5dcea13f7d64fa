"""The pause on the pages: no number before the estimate, wherever one could be seen; then quick."""

import re

import pytest
from flask.testing import FlaskClient
from pages_site import AWKWARD, DIED, FULL, HTML, Site, form_token, pausing

from service.auth import Role

SNAPSHOT = re.compile(r'name="snapshot" value="([^"]+)"')


@pytest.fixture(scope="module")
def waiting(site: Site) -> Site:
    return pausing(site)


def clinician(site: Site, person: str) -> FlaskClient:
    return site.client(Role.EHR, person=person)


def address(site: Site, patient: str = FULL, model: str = "prevent") -> str:
    return f"/clinic/twins/{site.twins[patient]}/review/{model}"


def opened(client: FlaskClient, page: str) -> dict[str, str]:
    """The hidden fields of the page's form."""
    text = client.get(page).text
    snapshot = SNAPSHOT.search(text)
    return {"csrf_token": form_token(text), "snapshot": snapshot[1] if snapshot else ""}


def send(client: FlaskClient, page: str, step: str, **fields: str) -> tuple[int, str]:
    known = opened(client, page)
    answer = client.post(f"{page}/{step}", data={**known, **fields}, headers=HTML)
    if answer.status_code == 303:
        answer = client.get(answer.location, headers=HTML)
    return answer.status_code, answer.text


def numbers(page: str) -> list[str]:
    """The risks a page shows."""
    return re.findall(r"<strong>(\d+)</strong> %", page)


# -- before the estimate ---------------------------------------------------------------------------


def test_no_number_is_anywhere_before_the_estimate(waiting: Site) -> None:
    client = clinician(waiting, "early")
    twin = waiting.twins[FULL]
    for page in ("/clinic", f"/clinic/twins/{twin}", f"/clinic/twins/{twin}/versions/1"):
        text = client.get(page).text
        assert numbers(text) == []
        assert "if measured again (95 %)" not in text
        assert "stimate first" in text
    asked = client.get(f"/clinic/twins/{twin}/whatif/prevent")
    assert (asked.status_code, asked.location) == (303, address(waiting))
    token = form_token(client.get("/clinic").text)
    tried = client.post(
        f"/clinic/twins/{twin}/whatif/prevent",
        data={"csrf_token": token, "set-systolic-bp": "135"},
    )
    assert tried.status_code == 303
    review = client.get(address(waiting)).text
    assert numbers(review) == []
    assert "autofocus" in review
    assert "Systolic blood pressure" in review  # what the model reads is there to think with


def test_low_stakes_are_shown_at_once(waiting: Site) -> None:
    text = clinician(waiting, "early").get(f"/clinic/twins/{waiting.twins[FULL]}").text
    assert "CKD-EPI" in text
    assert re.search(r"<strong>85</strong>", text)


@pytest.mark.parametrize("estimate", ["", "many", "-1", "101", "nan", "inf", "1e400", "8 %"])
def test_an_estimate_that_is_none_is_asked_again(waiting: Site, estimate: str) -> None:
    status, page = send(
        clinician(waiting, "typist"), address(waiting), "estimate", estimate=estimate
    )
    assert status == 422
    assert "Nothing was kept." in page
    assert "Give a number from 0 to 100." in page
    assert numbers(page) == []


# -- after it --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "estimate", "says"),
    [
        ("comma-1", "7,9", "You thought higher than the model."),
        ("high-1", "40", "You thought higher than the model."),
        ("near-1", "4", "You and the model agree"),
    ],
)
def test_the_number_comes_with_the_estimate_beside_it(
    waiting: Site, person: str, estimate: str, says: str
) -> None:
    status, page = send(clinician(waiting, person), address(waiting), "estimate", estimate=estimate)
    assert status == 200
    assert len(numbers(page)) == 6
    assert says in page
    assert "Not known" in page or "The range covers" in page
    assert ("To accept its result, say why" in page) is ("thought" in says)


def test_who_has_no_estimate_says_so(waiting: Site) -> None:
    status, page = send(clinician(waiting, "unsure"), address(waiting), "estimate", unsure="1")
    assert status == 200
    assert "Your estimate: none given." in page


def test_an_answer_to_other_inputs_than_the_newest_is_not_kept(waiting: Site) -> None:
    client = clinician(waiting, "slow-1")
    token = form_token(client.get(address(waiting)).text)
    answer = client.post(
        f"{address(waiting)}/estimate",
        data={"csrf_token": token, "snapshot": "sha256:0", "estimate": "5"},
        headers=HTML,
    )
    assert answer.status_code == 409
    assert "The record changed: this is the new result." in answer.text
    assert numbers(answer.text) == []


# -- deciding --------------------------------------------------------------------------------------


def test_one_decides_and_everybody_sees_it(waiting: Site) -> None:
    page = address(waiting, AWKWARD)
    one, two = clinician(waiting, "one"), clinician(waiting, "two")
    send(one, page, "estimate", estimate="30")
    send(two, page, "estimate", unsure="1")
    before = opened(two, page)
    status, text = send(one, page, "decision", decision="accepted")
    assert (status, "A reason is needed" in text) == (422, True)
    status, text = send(one, page, "decision", decision="accepted", reason="overlooked")
    assert status == 200
    assert "Accepted today." in text
    assert "Written into the chart." in text
    late = {**before, "decision": "overridden", "reason": "disagree"}
    status, text = send(two, page, "decision", **late)
    assert status == 409
    assert "Somebody has decided on this result already" in text
    board = clinician(waiting, "late").get(f"/clinic/twins/{waiting.twins[AWKWARD]}").text
    assert len(numbers(board)) >= 3
    assert "accepted today" in board


def test_a_result_that_little_hangs_on_is_not_accepted_in_one_step(waiting: Site) -> None:
    page = address(waiting, AWKWARD, "ckd-epi-2021")
    status, text = send(
        clinician(waiting, "one"), page, "decision",
        decision="overridden", reason="data-wrong", own="60", comment="Repeat it.",
    )  # fmt: skip
    assert status == 200
    assert "Not accepted today." in text
    assert "The data it rests on are wrong or out of date." in text
    assert "Repeat it." not in text


@pytest.mark.parametrize("decision", ["", "final", "accepted<b>"])
def test_a_decision_that_is_none_is_refused(waiting: Site, decision: str) -> None:
    client = clinician(waiting, "three")
    send(client, address(waiting), "estimate", unsure="1")
    status, text = send(client, address(waiting), "decision", decision=decision)
    assert status == 400
    assert "<b>" not in text


def test_a_session_that_nobody_is_named_in_may_look_and_not_decide(waiting: Site) -> None:
    client = waiting.client(Role.EHR)
    before = opened(client, address(waiting))
    status, text = send(client, address(waiting), "estimate", estimate="4")
    assert status == 200
    assert "--person CODE" in text
    status, text = send(client, address(waiting), "decision", **before, decision="accepted")
    assert status == 403
    assert "Only a person who is known here can decide" in text


@pytest.mark.parametrize(
    "path", ["nothing/review/prevent", "{twin}/review/tarot", "{died}/review/prevent"]
)
def test_what_has_no_number_has_no_review(waiting: Site, path: str) -> None:
    client = clinician(waiting, "one")
    full = path.format(twin=waiting.twins[FULL], died=waiting.twins[DIED])
    assert client.get(f"/clinic/twins/{full}", headers=HTML).status_code == 404


@pytest.mark.parametrize("role", [Role.PATIENT, Role.PRIVACY_OFFICER, Role.ADMIN])
def test_reviews_are_for_clinicians(waiting: Site, role: Role) -> None:
    client = waiting.client(role, waiting.twins[FULL] if role is Role.PATIENT else None)
    assert client.get(address(waiting), headers=HTML).status_code == 403


def test_a_form_without_its_token_changes_nothing(waiting: Site) -> None:
    client = clinician(waiting, "forged")
    for step in ("estimate", "decision"):
        answer = client.post(f"{address(waiting)}/{step}", data={"estimate": "5"}, headers=HTML)
        assert answer.status_code == 403


def test_what_was_done_is_on_the_record_without_a_number(waiting: Site) -> None:
    client = clinician(waiting, "noted")
    send(client, address(waiting), "estimate", estimate="37")
    newest = next(
        e for e in waiting.service.uses(waiting.twins[FULL], 9) if e.action == "review-estimate"
    )
    assert (newest.subject, newest.outcome) == ("ehr:noted", "prevent:done")
    assert "37" not in newest.outcome
