"""Closed by default: who gets through to which route, and what every answer carries."""

import re

import pytest
from error_shape import assert_error_shape
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from web_support import OTHER_TWIN, TWIN, InProcess

from service.app import create_app
from service.auth import Role, Scope
from service.config import Config
from service.web.audiences import audiences
from service.web.services import Services

OPEN_RULES = {
    "/livez",
    "/readyz",
    "/fhir/metadata",
    "/.well-known/client-jwks.json",
    "/.well-known/jwks.json",
    "/.well-known/oauth-protected-resource",
    "/sign-in",
    "/schemas/twin-1.json",
    "/static/<path:filename>",
}


def test_the_open_routes_are_these_and_no_others(app: Flask) -> None:
    known = audiences(app)
    found = {rule.rule for rule in app.url_map.iter_rules() if known[rule.endpoint].is_open}
    assert found == OPEN_RULES


@pytest.mark.parametrize("role", list(Role))
def test_each_role_reaches_what_its_scopes_say(app: Flask, access, callers, role: Role) -> None:
    """Every closed route, every method, every role: 403 exactly where the audience says so."""
    client, headers = app.test_client(), callers.headers(role)
    caller = access.authenticate(headers["Authorization"], None)
    known = audiences(app)
    for rule in app.url_map.iter_rules():
        audience = known[rule.endpoint]
        if audience.is_open:
            continue
        path = re.sub(r"<[^>]+>", "1", rule.rule.replace("<pseudonym>", TWIN))
        for method in rule.methods or ():
            refused = client.open(path, method=method, headers=headers).status_code == 403
            assert refused is not audience.admits(caller), (method, path)


def test_a_route_that_does_not_say_who_it_is_for_stops_the_start(
    config: Config, behind, access, keys
) -> None:
    careless = Blueprint("careless", __name__)
    careless.add_url_rule("/careless", view_func=lambda: "x", endpoint="view")
    with pytest.raises(RuntimeError, match=r"/careless .*put @closed"):
        create_app(config, Services(behind, access, keys.jwks), pages=[careless])


def test_nothing_can_be_added_after_the_first_request(app: Flask, client: FlaskClient) -> None:
    client.get("/livez")
    with pytest.raises(AssertionError, match="already handled its first request"):
        app.add_url_rule("/late", view_func=lambda: "x")


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Basic abc", "Bearer twp_0000000000000000_" + "x" * 43, "Bearer a.b.c", "Bearer ü"],
)
def test_credentials_that_are_none(client: FlaskClient, authorization: str) -> None:
    for path, fhir in (("/api/v1/models", False), ("/fhir/Device", True)):
        answer = client.get(path, headers={"Authorization": authorization})
        assert_error_shape(answer, 401, fhir=fhir, code="sign-in-refused")
        assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_a_revoked_key_is_refused(client: FlaskClient, access) -> None:
    key = access.api_keys.issue(Role.EHR, label="gone")
    access.api_keys.revoke(key.id)
    answer = client.get("/api/v1/models", headers={"Authorization": f"Bearer {key.text}"})
    assert_error_shape(answer, 401, fhir=False, code="sign-in-refused")


def test_a_narrowed_key_reaches_less(client: FlaskClient, access) -> None:
    key = access.api_keys.issue(Role.EHR, label="narrow", scopes=[Scope.RUNS_READ])
    headers = {"Authorization": f"Bearer {key.text}"}
    assert client.get("/api/v1/runs", headers=headers).status_code == 200
    refused = client.get(f"/api/v1/twins/{TWIN}", headers=headers)
    assert_error_shape(refused, 403, fhir=False, code="forbidden")


# -- a patient sees one twin -------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "/versions", "/versions/1", "/assessments", "/ledger"])
def test_a_patient_cannot_tell_anothers_twin_from_none(
    client: FlaskClient, callers, below: str
) -> None:
    assert client.get(f"/api/v1/twins/{TWIN}{below}", headers=callers.patient).status_code == 200
    there = client.get(f"/api/v1/twins/{OTHER_TWIN}{below}", headers=callers.patient)
    nowhere = client.get(f"/api/v1/twins/{'C' * 22}{below}", headers=callers.patient)
    no_name = client.get(f"/api/v1/twins/x{below}", headers=callers.patient)
    answers = [
        {k: v for k, v in a.get_json(force=True).items() if k != "instance"}
        for a in (there, nowhere, no_name)
    ]
    assert answers[0] == answers[1] == answers[2]
    assert_error_shape(there, 404, fhir=False, code="not-found")


def test_a_program_sees_its_own_runs_and_an_officer_all(client: FlaskClient, callers) -> None:
    mine, foreign = callers.ehr, callers.ehr
    wanted = {"server": "hospital", "patient": "p"}
    started = client.post("/api/v1/runs", json=wanted, headers=mine)
    address = started.headers["Location"]
    assert client.get(address, headers=mine).status_code == 200
    assert client.get(address, headers=callers.officer).status_code == 200
    assert_error_shape(client.get(address, headers=foreign), 404, fhir=False, code="not-found")
    refused = client.delete(address, headers=foreign)
    assert_error_shape(refused, 404, fhir=False, code="not-found")
    assert client.get("/api/v1/runs", headers=foreign).get_json() == {"items": []}
    assert len(client.get("/api/v1/runs", headers=callers.officer).get_json()["items"]) == 1


def test_whoever_reads_of_a_twin_is_noted(client: FlaskClient, callers, behind: InProcess) -> None:
    """So that the person it is about can see it; beyond reach there is nothing to note."""
    base = f"/api/v1/twins/{TWIN}"
    for path in (base, f"{base}/versions/1", f"{base}/assessments", f"{base}/ledger"):
        client.get(path, headers=callers.patient)
        client.get(path, headers=callers.other_patient)
    client.get("/fhir/RiskAssessment", headers=callers.ehr)
    client.get("/fhir/RiskAssessment?_count=0", headers=callers.ehr)
    client.get("/fhir/RiskAssessment/riskassessment-9", headers=callers.ehr)
    client.get("/fhir/Device/device-1", headers=callers.ehr)
    assert behind.noted == [
        ("patient", "twin.download", TWIN),
        ("patient", "twin.download", TWIN),
        ("patient", "assessments-read", TWIN),
        ("patient", "ledger-read", TWIN),
        ("ehr", "results-read", TWIN),
        ("ehr", "results-read", OTHER_TWIN),
        ("ehr", "results-read", OTHER_TWIN),
    ]


# -- headers and hosts -------------------------------------------------------------------------


def test_every_answer_is_closed_to_browsers_and_caches(app: Flask, callers) -> None:
    client = app.test_client()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "1", rule.rule)
        headers = client.get(path, headers=callers.ehr).headers
        policy = headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        if rule.endpoint != "static":
            assert headers["Cache-Control"] == "no-store", path
        assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example"])
def test_a_service_on_loopback_answers_to_loopback_names_only(
    client: FlaskClient, host: str
) -> None:
    answer = client.get("/fhir/metadata", headers={"Host": host})
    assert_error_shape(answer, 400, fhir=True, code="bad-host")
    answer = client.get("/sign-in", headers={"Host": host})
    assert_error_shape(answer, 400, fhir=False, code="bad-host")
    for probe, status in (("/livez", 200), ("/readyz", 200), ("/metrics", 401)):
        assert client.get(probe, headers={"Host": host}).status_code == status


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080"])
def test_loopback_names(client: FlaskClient, host: str) -> None:
    assert client.get("/fhir/metadata", headers={"Host": host}).status_code == 200


class TestBehindTls:
    """With a public https address: secure cookies, HSTS, that host alone, that base in links."""

    @pytest.fixture
    def settings(self, settings: dict[str, str]) -> dict[str, str]:
        return {
            **settings,
            "TWINPORT_WEB__PUBLIC_URL": "https://twin.example.org",
            "TWINPORT_WEB__TLS": "proxy",
            "TWINPORT_WEB__HOST": "0.0.0.0",
            "TWINPORT_WEB__TRUSTED_PROXIES": "1",
        }

    def test_hsts_and_base(self, client: FlaskClient) -> None:
        forwarded = {
            "Host": "10.0.0.5:8080",
            "X-Forwarded-Host": "twin.example.org",
            "X-Forwarded-Proto": "https",
        }
        answer = client.get("/fhir/metadata", headers=forwarded)
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert answer.get_json()["implementation"]["url"] == "https://twin.example.org/fhir"

    def test_other_hosts_are_refused(self, client: FlaskClient) -> None:
        answer = client.get("/fhir/metadata", headers={"X-Forwarded-Host": "evil.example"})
        assert_error_shape(answer, 400, fhir=True, code="bad-host")

    def test_cookies_are_bound_to_the_host(self, client: FlaskClient) -> None:
        headers = {"X-Forwarded-Host": "twin.example.org"}
        cookie = client.get("/sign-in", headers=headers).headers["Set-Cookie"]
        assert cookie.startswith("__Host-twinport-form=")
        for word in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            assert word in cookie


# -- rates -------------------------------------------------------------------------------------


class TestRates:
    @pytest.fixture
    def settings(self, settings: dict[str, str]) -> dict[str, str]:
        return {**settings, "TWINPORT_WEB__REQUESTS_PER_MINUTE": "3"}

    @pytest.mark.parametrize(("path", "fhir"), [("/api/v1/models", False), ("/fhir/Device", True)])
    def test_a_caller_is_slowed_down_and_others_are_not(
        self, client: FlaskClient, callers, path: str, fhir: bool
    ) -> None:
        busy, other = callers.ehr, callers.ehr
        assert [client.get(path, headers=busy).status_code for _ in range(3)] == [200] * 3
        answer = client.get(path, headers=busy)
        assert_error_shape(answer, 429, fhir=fhir, code="throttled")
        assert 1 <= int(answer.headers["Retry-After"]) <= 20
        assert client.get(path, headers=other).status_code == 200

    def test_guessing_is_slowed_down_by_address(self, client: FlaskClient) -> None:
        wrong = {"Authorization": "Bearer nothing"}
        codes = [client.get("/api/v1/models", headers=wrong).status_code for _ in range(4)]
        assert codes == [401, 401, 401, 429]


def test_request_ids_are_repeated_when_plain_and_replaced_when_not(client: FlaskClient) -> None:
    for given, kept in (("abc-1.2", True), ("a" * 64, True), ("a" * 65, False), ("a b", False)):
        answered = client.get("/livez", headers={"X-Request-Id": given}).headers["X-Request-Id"]
        assert (answered == given) is kept
        assert re.fullmatch(r"[A-Za-z0-9.-]{1,64}", answered)
