"""What if on the page and over the API, on a real twin: graded, with the range of the difference,
and never worded as advice."""

import re

import pytest
from flask.testing import FlaskClient
from pages_site import FULL, HTML, REFUSED, Site, form_token

from service.auth import Role

ADVICE = re.compile(
    r"\b(should|must|recommend|reduce your|would (fall|drop|rise)|will (fall|drop))"
)


@pytest.fixture(scope="module")
def client(site: Site) -> FlaskClient:
    return site.client(Role.EHR)


def address(site: Site, model: str = "prevent", patient: str = FULL) -> str:
    return f"/clinic/twins/{site.twins[patient]}/whatif/{model}"


def ask(client: FlaskClient, page: str, **fields: str) -> tuple[int, str]:
    token = form_token(client.get(page).text)
    answer = client.post(page, data={"csrf_token": token, **fields}, headers=HTML)
    main = answer.text[answer.text.index("<main") :]
    return answer.status_code, main


def test_the_form_offers_what_may_be_exchanged_with_the_values_in_use(
    site: Site, client: FlaskClient
) -> None:
    page = client.get(address(site)).text
    assert 'name="set-systolic-bp"' in page
    assert 'name="set-statin"' not in page  # a treatment, and its coefficient no effect
    assert "90 to 200" in page


def test_another_value_is_an_association_with_a_range_of_the_difference(
    site: Site, client: FlaskClient
) -> None:
    status, page = ask(client, address(site), **{"set-systolic-bp": "199", "set-sex": ""})
    assert status == 200
    assert "Systolic blood pressure 199 mmHg instead of" in page
    assert "association only" in page
    assert "What the equation says for a person with these values." in page
    assert re.search(r"Of 100 people with these values: [\d.]+ more \([\d.]+ to [\d.]+\)", page)
    assert "(range if measured again, 95 %)" in page
    assert not ADVICE.search(page)
    assert 'value="199"' in page  # what was asked stands in the form


def test_a_treatment_shows_trials_population_interval_and_harms(
    site: Site, client: FlaskClient
) -> None:
    status, page = ask(client, address(site), treatment="lower-sbp-10")
    assert status == 200
    # This woman takes a medicine for blood pressure: the risk contains the effect already.
    assert "No number" in page
    assert "<h3>Harms</h3>" in page
    assert not ADVICE.search(page)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "Ask either for other inputs"),
        ({"set-systolic-bp": "high"}, "Systolic-bp: give a number."),
        ({"set-statin": "1"}, "is a treatment, and its coefficient no effect"),
        ({"set-<b>Jane</b>": "1"}, "It has the inputs age, "),
        ({"treatment": "<b>Jane</b>"}, "Trials of these treatments meet its outcomes: "),
    ],
)
def test_what_cannot_be_asked_is_said_with_the_way_it_can(
    site: Site, client: FlaskClient, fields: dict[str, str], says: str
) -> None:
    status, page = ask(client, address(site), **fields)
    assert status == 422
    assert says in page
    assert "Jane" not in page


def test_a_value_out_of_range_is_a_refusal_at_full_size(site: Site, client: FlaskClient) -> None:
    status, page = ask(client, address(site), **{"set-systolic-bp": "300"})
    assert status == 200
    assert page.count("<strong>No number</strong>") >= 3


def test_a_model_that_refuses_this_person_refuses_the_question(
    site: Site, client: FlaskClient
) -> None:
    status, page = ask(client, address(site, patient=REFUSED), **{"set-systolic-bp": "120"})
    assert status == 200
    assert "No number" in page
    assert "instead of" in page


def test_the_api_answers_the_same_question(site: Site) -> None:
    key = site.access.api_keys.issue(Role.EHR, label="test", twin=None)
    answer = site.app.test_client().post(
        f"/api/v1/twins/{site.twins[FULL]}/whatif",
        json={"model": "prevent", "changes": {"systolic-bp": 120, "smoking-current": False}},
        headers={"Authorization": f"Bearer {key.text}"},
    )
    found = answer.get_json()
    assert found["grade"] == "association-only"
    for one in found["results"]:
        assert one["difference"] == pytest.approx(one["after"] - one["before"])
        assert one["interval"]["low"] <= one["difference"] <= one["interval"]["high"]


@pytest.mark.parametrize("model", ["tarot", "Jane%20Doe", "bcrat:x"])
def test_a_model_that_does_not_run_here_is_an_error_page(
    site: Site, client: FlaskClient, model: str
) -> None:
    answer = client.get(address(site, model), headers=HTML)
    assert answer.status_code in (404, 422)
    assert "tarot" not in answer.text
    assert "Jane" not in answer.text


def test_questions_are_noted_and_values_are_not(site: Site, client: FlaskClient) -> None:
    ask(client, address(site), **{"set-systolic-bp": "117"})
    newest = site.service.uses(site.twins[FULL], 1)[0]
    assert newest.action == "whatif"
    assert "117" not in str(newest)
