"""Signing in and out with a browser, and what protects it."""

import re

import pytest
from error_shape import assert_error_shape
from flask import Flask
from flask.testing import FlaskClient
from web_support import TWIN

from service.auth import Access, Role

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def form_token(client: FlaskClient) -> str:
    page = client.get("/sign-in", headers=BROWSER).get_data(as_text=True)
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return found[1]


def sign_in(client: FlaskClient, code: str, **fields: str):
    form = {"csrf_token": form_token(client), "code": code, **fields}
    return client.post("/sign-in", data=form, headers=BROWSER)


@pytest.fixture
def officer(client: FlaskClient, access: Access) -> FlaskClient:
    """A browser in which a privacy officer is signed in."""
    assert sign_in(client, access.codes.issue(Role.PRIVACY_OFFICER)).status_code == 303
    return client


def session_form_token(client: FlaskClient, access: Access) -> str:
    cookie = client.get_cookie("twinport")
    assert cookie
    return access.sessions.csrf(cookie.value)


def test_a_code_opens_a_session_once(client: FlaskClient, access: Access) -> None:
    code = access.codes.issue(Role.PATIENT, twin=TWIN)
    answer = sign_in(client, code.lower())
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookies = "\n".join(answer.headers.getlist("Set-Cookie"))
    assert re.search(r"^twinport=[^;]+;.*HttpOnly.*SameSite=Lax", cookies, re.MULTILINE)
    assert code not in cookies
    assert client.get(f"/api/v1/twins/{TWIN}").status_code == 200
    again = sign_in(client, code)
    assert again.status_code == 401
    assert 'role="alert"' in again.get_data(as_text=True)


def test_a_page_sends_a_person_to_sign_in_and_back(client: FlaskClient, access: Access) -> None:
    answer = client.get("/docs", headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/docs")
    answer = sign_in(client, access.codes.issue(Role.EHR), next="/docs")
    assert answer.headers["Location"] == "/docs"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/%2f/evil.example",
        "\t//evil.example",
        "/a//b",
        "javascript:x",
        "/a?b=c",
        "",
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(
    client: FlaskClient, access: Access, target: str
) -> None:
    answer = sign_in(client, access.codes.issue(Role.EHR), next=target)
    assert answer.headers["Location"] == "/"


def test_a_form_that_is_not_ours_signs_nobody_in(client: FlaskClient, access: Access) -> None:
    code = access.codes.issue(Role.EHR)
    bare = client.post("/sign-in", data={"code": code})
    assert_error_shape(bare, 403, fhir=False, code="form-expired")
    form_token(client)
    wrong = client.post("/sign-in", data={"code": code, "csrf_token": "x"})
    assert_error_shape(wrong, 403, fhir=False, code="form-expired")
    assert sign_in(client, code).status_code == 303  # the code was not spent by them


@pytest.mark.parametrize("code", ["", "x", "AAAAA-AAAAA-AAAAA-AAAAA", "é" * 20])
def test_a_program_gets_a_problem_instead_of_a_page(client: FlaskClient, code: str) -> None:
    form = {"csrf_token": form_token(client), "code": code}
    answer = client.post("/sign-in", data=form, headers={"Accept": "application/json"})
    assert_error_shape(answer, 401, fhir=False, code="sign-in-refused")


class TestBrake:
    @pytest.fixture
    def settings(self, settings: dict[str, str]) -> dict[str, str]:
        return {**settings, "TWINPORT_WEB__SIGN_IN_ATTEMPTS": "2"}

    def test_guessing_codes_is_braked_even_for_the_right_one(
        self, client: FlaskClient, access: Access
    ) -> None:
        token = form_token(client)
        form = {"csrf_token": token, "code": "AAAAA-AAAAA-AAAAA-AAAAA"}
        for _ in range(2):
            assert client.post("/sign-in", data=form, headers=BROWSER).status_code == 401
        form["code"] = access.codes.issue(Role.EHR)
        page = client.post("/sign-in", data=form, headers=BROWSER)
        assert page.status_code == 429
        assert int(page.headers["Retry-After"]) >= 1
        problem = client.post("/sign-in", data=form)
        assert_error_shape(problem, 429, fhir=False, code="throttled")


def test_a_session_needs_its_token_for_whatever_changes_something(
    officer: FlaskClient, access: Access
) -> None:
    for headers in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": "é"}):
        answer = officer.post("/sign-out", headers=headers)
        assert_error_shape(answer, 403, fhir=False, code="form-expired")
        answer = officer.delete("/api/v1/runs/x", headers=headers)
        assert_error_shape(answer, 403, fhir=False, code="form-expired")
    token = session_form_token(officer, access)
    answer = officer.delete("/api/v1/runs/x", headers={"X-CSRF-Token": token})
    assert_error_shape(answer, 403, fhir=False, code="forbidden")  # past the form, to the scope


def test_signing_out_ends_the_session_on_the_server(
    app: Flask, officer: FlaskClient, access: Access
) -> None:
    cookie = officer.get_cookie("twinport")
    assert cookie
    token = session_form_token(officer, access)
    answer = officer.post("/sign-out", data={"csrf_token": token})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert officer.get_cookie("twinport") is None
    stolen = app.test_client()
    stolen.set_cookie("twinport", cookie.value)
    assert_error_shape(stolen.get("/api/v1/models"), 401, fhir=False, code="sign-in-refused")


def test_a_bad_header_is_not_saved_by_a_good_cookie(officer: FlaskClient) -> None:
    assert officer.get("/api/v1/models").status_code == 200
    answer = officer.get("/api/v1/models", headers={"Authorization": "Bearer x"})
    assert_error_shape(answer, 401, fhir=False, code="sign-in-refused")


def test_a_session_of_another_installation_opens_nothing(client: FlaskClient) -> None:
    client.set_cookie("twinport", "x" * 43)
    assert_error_shape(client.get("/api/v1/models"), 401, fhir=False, code="sign-in-refused")
