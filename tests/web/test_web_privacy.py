"""No value of a request gets into a log line, an error or a metric, wherever it was put."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from web_support import TWIN

from service.auth import Access, Role

M = "Zyxwvut-1950"  # in the place of a name, an id, a date of birth
RUN = {"server": "hospital", "patient": "p"}
FHIR = {"Content-Type": "application/fhir+json"}

Logged = Callable[[], list[dict[str, Any]]]


def fhir_parameters(*given: Any) -> dict[str, Any]:
    server = {"name": "server", "valueString": "hospital"}
    return {"resourceType": "Parameters", "parameter": [server, *given]}


# Every place of a request that a caller fills: (method, path, arguments of the client).
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", f"/{M}", {}),
    ("GET", f"/{M}", {"headers": {"Accept": "text/html"}}),
    ("GET", f"/clinic/twins/{M}", {"headers": {"Accept": "text/html"}}),
    ("GET", f"/fhir/Encounter/{M}", {}),
    ("GET", f"/fhir/{M}/1", {}),
    ("GET", f"/api/v1/runs/{M}", {}),
    ("DELETE", f"/api/v1/runs/{M}", {}),
    ("GET", f"/api/v1/twins/{M}", {}),
    ("GET", f"/api/v1/twins/{TWIN}/versions/{M}", {}),
    ("GET", f"/api/v1/models/{M}", {}),
    ("GET", f"/api/v1/models?{M}={M}", {}),
    ("GET", f"/api/v1/runs?limit={M}", {}),
    ("GET", f"/static/{M}.css", {}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "patient": f"{M} x"}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "patient": f"fail-{M}"}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "patient": M}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "patient": "break", "models": ["prevent"]}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "server": M}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "server": M.lower()}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "server": f"https://{M}/fhir"}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "models": [M, {M: M}]}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "models": [M]}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "policy": M}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, "writeBack": M}}),
    ("POST", "/api/v1/runs", {"json": {**RUN, f"{M} {M}": M}}),
    ("POST", "/api/v1/runs", {"json": [M]}),
    ("POST", "/api/v1/runs", {"data": f"{{{M}", "content_type": "application/json"}),
    ("POST", "/api/v1/runs", {"data": M, "content_type": f"text/{M}"}),
    ("POST", f"/fhir/Patient/{M}/$assess", {"json": fhir_parameters(), "headers": FHIR}),
    ("POST", f"/fhir/Patient/fail-{M}/$assess", {"json": fhir_parameters(), "headers": FHIR}),
    ("GET", f"/fhir/Patient/{M}/$assess", {}),
    ("POST", f"/fhir/Patient/{M}/$assess?{M}={M}", {"json": fhir_parameters(), "headers": FHIR}),
    ("POST", f"/fhir/Patient/{M} {M}/$assess", {"json": fhir_parameters(), "headers": FHIR}),
    (
        "POST",
        "/fhir/Patient/p/$assess",
        {"json": fhir_parameters({"name": M, "valueString": M}), "headers": FHIR},
    ),
    (
        "POST",
        "/fhir/Patient/p/$assess",
        {"json": fhir_parameters({"name": "model", "valueString": M}), "headers": FHIR},
    ),
    (
        "POST",
        "/fhir/Patient/p/$assess",
        {"json": fhir_parameters({"name": "model", f"value{M}": M}), "headers": FHIR},
    ),
    ("POST", "/fhir/Patient/p/$assess", {"json": {"resourceType": M, M: M}, "headers": FHIR}),
    ("POST", "/fhir/Patient/p/$assess", {"data": M, "headers": FHIR}),
    ("GET", f"/fhir/RiskAssessment/{M}", {}),
    ("GET", f"/fhir/RiskAssessment?{M}={M}&_sort={M}", {}),
    ("GET", f"/fhir/RiskAssessment?_count={M}", {}),
    ("GET", f"/fhir/RiskAssessment?_lastUpdated={M}", {}),
    ("GET", f"/fhir/RiskAssessment?_page={M}", {}),
    ("GET", f"/fhir/RiskAssessment?_id:{M}={M}", {}),
    ("GET", f"/fhir/metadata?mode={M}", {}),
    ("GET", f"/fhir/metadata?_format={M}", {}),
    ("POST", "/fhir/RiskAssessment/_search", {"data": {M: M}}),
    ("GET", f"/fhir/_async/{M}", {}),
    ("GET", "/api/v1/models", {"headers": {"Accept": f"text/{M}"}}),
    ("GET", "/api/v1/models", {"headers": {"Prefer": M, "X-Request-Id": f"{M} {M}"}}),
    ("GET", "/api/v1/models", {"headers": {"User-Agent": M, "Referer": M, "X-Other": M}}),
    ("GET", "/api/v1/models", {"headers": {"Cookie": f"twinport={M}; {M}={M}"}}),
    ("GET", "/api/v1/models", {"headers": {"Authorization": f"Bearer {M}"}}),
    ("GET", "/api/v1/models", {"headers": {"Authorization": f"Bearer {M}.{M}.{M}"}}),
    ("GET", "/api/v1/models", {"headers": {"Host": f"{M}.example"}}),
    ("POST", "/sign-in", {"data": {"code": M, "csrf_token": M, "next": M}}),
    ("POST", "/sign-out", {"data": {"csrf_token": M}}),
    (M.upper(), "/livez", {}),
    (M.upper(), "/api/v1/runs", {}),
]


def test_no_value_of_any_request_is_kept_or_told(
    app: Flask, client: FlaskClient, callers, logged: Logged
) -> None:
    ehr = callers.ehr
    for method, path, arguments in REQUESTS:
        given = {**arguments, "headers": {**ehr, **arguments.get("headers", {})}}
        answer = client.open(path, method=method, **given)
        if answer.status_code >= 400:
            told = f"{answer.headers} {answer.get_data(as_text=True)}"
            assert M.lower() not in told.lower(), (method, path)
    metrics = client.get("/metrics", headers=callers.admin).get_data(as_text=True)
    assert M.lower() not in metrics.lower()
    lines = logged()
    assert len([line for line in lines if line["event"] == "request"]) >= len(REQUESTS)
    assert M.lower() not in str(lines).lower()
    assert "fhir.example.org" not in str(lines)


def test_signing_in_leaves_no_secret_behind(
    client: FlaskClient, access: Access, logged: Logged
) -> None:
    code = access.codes.issue(Role.PATIENT, twin=TWIN)
    client.get("/sign-in")
    cookie = client.get_cookie("twinport-form")
    assert cookie
    client.post("/sign-in", data={"code": code, "csrf_token": cookie.value})
    session = client.get_cookie("twinport")
    assert session
    client.get(f"/api/v1/twins/{TWIN}")
    text = str(logged())
    for secret in (code, session.value, cookie.value, TWIN):
        assert secret not in text


def test_a_bug_is_logged_by_its_place_and_not_by_its_words(
    client: FlaskClient, callers, logged: Logged
) -> None:
    client.post("/api/v1/runs", json={**RUN, "patient": "break"}, headers=callers.ehr)
    told = next(line for line in logged() if line["event"] == "unexpected")
    assert told["error"] == ["RuntimeError"]
    assert told["route"] == "/api/v1/runs"
    assert any(place.startswith("web_support.py:") for place in told["at"])
    assert "something about" not in str(logged())


@pytest.mark.parametrize("path", ["/api/v1/runs", "/fhir/Patient/p/$assess"])
def test_a_line_says_what_an_operator_needs(
    client: FlaskClient, callers, logged: Logged, path: str
) -> None:
    headers = {**callers.ehr, "X-Request-Id": "call-1"}
    client.post(path, json=RUN, headers=headers)
    line = logged()[-1]
    assert line["request_id"] == "call-1"
    assert line["route"] in ("/api/v1/runs", "/fhir/Patient/<patient>/$assess")
    assert (line["method"], line["role"], line["by"]) == ("POST", "ehr", "api-key")
    assert isinstance(line["ms"], float)
    assert isinstance(line["status"], int)
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")
