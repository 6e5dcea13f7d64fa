"""The JSON API: what each route takes and answers."""

import hashlib
from typing import Any

import pytest
from error_shape import assert_error_shape
from flask.testing import FlaskClient
from web_support import FILES, TWIN, InProcess

from service.web.errors import KINDS
from service.web.ports import Failure, RunRequest

WANTED = {"server": "hospital", "patient": "p-1"}


def start(client: FlaskClient, headers: dict[str, str], **members: Any):
    return client.post("/api/v1/runs", json={**WANTED, **members}, headers=headers)


# -- runs --------------------------------------------------------------------------------------


def test_a_run_that_ends_well(client: FlaskClient, callers, behind: InProcess) -> None:
    answer = start(client, callers.ehr, models=["prevent", "prevent"], writeBack=False)
    run = answer.get_json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/v1/runs/{run['id']}" == run["links"]["self"]
    assert (run["state"], run["twin"], run["twinVersion"]) == ("done", TWIN, 2)
    assert run["counts"] == {"pulled": 12}
    assert run["failure"] is None
    assert "p-1" not in answer.get_data(as_text=True)
    assert behind.requests == [RunRequest("hospital", "p-1", ("prevent",), None, False)]


def test_a_run_may_ask_for_no_more_than_is_needed(
    client: FlaskClient, callers, behind: InProcess
) -> None:
    start(client, callers.ehr, models=["prevent"], onlyNeeded=True)
    (wanted,) = behind.requests
    assert wanted.only_needed
    refused = start(client, callers.ehr, onlyNeeded="yes")
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["pointer"] == "/onlyNeeded"


def test_the_links_of_a_run_lead_somewhere(client: FlaskClient, callers) -> None:
    headers = callers.ehr
    for link in start(client, headers).get_json()["links"].values():
        assert client.get(link, headers=headers).status_code == 200


def test_respond_async_queues_the_run(client: FlaskClient, callers) -> None:
    headers = {**callers.ehr, "Prefer": "handling=lenient, respond-async; wait=10"}
    answer = start(client, headers)
    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.headers["Content-Location"]
    assert answer.headers["Preference-Applied"] == "respond-async"
    read = client.get(answer.headers["Location"], headers=headers)
    assert read.get_json()["state"] == "queued"
    assert read.headers["Retry-After"] == "1"


def test_a_run_longer_than_a_call_may_wait_goes_on(client: FlaskClient, callers) -> None:
    answer = start(client, callers.ehr, patient="slow")
    assert answer.status_code == 202
    assert answer.get_json()["state"] == "queued"
    assert "Preference-Applied" not in answer.headers


def test_a_run_that_fails_is_an_error_that_names_the_run(client: FlaskClient, callers) -> None:
    headers = callers.ehr
    for failure in set(Failure) - {Failure.CANCELLED}:
        answer = start(client, headers, patient=f"fail-{failure}")
        assert_error_shape(answer, KINDS[failure].status, fhir=False, code=failure)
        read = client.get(answer.headers["Location"], headers=headers).get_json()
        assert read["id"] == answer.get_json(force=True)["run"]
        assert read["failure"]["code"] == failure
        assert read["failure"]["nextStep"]


def test_a_reason_nobody_here_knows_is_told_as_a_failure(client: FlaskClient, callers) -> None:
    answer = start(client, callers.ehr, patient="fail-internal-error")
    assert_error_shape(answer, 500, fhir=False, code="failed")


def test_a_run_cancelled_meanwhile(client: FlaskClient, callers) -> None:
    answer = start(client, callers.ehr, patient="cancelled")
    assert_error_shape(answer, 409, fhir=False, code="cancelled")


def test_cancelling(client: FlaskClient, callers) -> None:
    headers = {**callers.ehr, "Prefer": "respond-async"}
    address = start(client, headers).headers["Location"]
    answer = client.delete(address, headers=headers)
    assert (answer.status_code, answer.get_json()["state"]) == (202, "cancelled")
    assert_error_shape(client.delete(address, headers=headers), 409, fhir=False, code="run-ended")


def test_listing_runs(client: FlaskClient, callers) -> None:
    for _ in range(3):
        start(client, callers.ehr)
    officer = callers.officer
    assert len(client.get("/api/v1/runs", headers=officer).get_json()["items"]) == 3
    assert len(client.get("/api/v1/runs?limit=2", headers=officer).get_json()["items"]) == 2


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "limit="])
def test_limits_that_are_none(client: FlaskClient, callers, query: str) -> None:
    answer = client.get(f"/api/v1/runs?{query}", headers=callers.officer)
    assert_error_shape(answer, 422, fhir=False, code="invalid")
    assert answer.get_json(force=True)["errors"][0]["pointer"] == "/query/limit"


# -- what is refused at the boundary -------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/server", "/patient"}),
        ({**WANTED, "colour": "red"}, {"/colour"}),
        ({**WANTED, "a b": 1}, {"/?"}),
        ({**WANTED, "server": 7}, {"/server"}),
        ({**WANTED, "patient": "Patient/1"}, {"/patient"}),
        ({**WANTED, "patient": "p\n"}, {"/patient"}),
        ({**WANTED, "models": "prevent"}, {"/models"}),
        ({**WANTED, "models": ["prevent", 1, "a b"]}, {"/models/1", "/models/2"}),
        ({**WANTED, "models": ["prevent"] * 51}, {"/models"}),
        ({**WANTED, "writeBack": "yes"}, {"/writeBack"}),
        ({**WANTED, "writeBack": 1}, {"/writeBack"}),
        ({**WANTED, "policy": ["x"]}, {"/policy"}),
    ],
)
def test_what_is_not_valid_is_named_by_its_path(
    client: FlaskClient, callers, body: dict[str, Any], pointers: set[str]
) -> None:
    answer = client.post("/api/v1/runs", json=body, headers=callers.ehr)
    assert_error_shape(answer, 422, fhir=False, code="invalid")
    assert {e["pointer"] for e in answer.get_json(force=True)["errors"]} == pointers


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"{\xff}", b"\xef\xbb\xbf{}", b"NaN"])
def test_what_is_no_json_object(client: FlaskClient, callers, body: bytes) -> None:
    answer = client.post(
        "/api/v1/runs", data=body, content_type="application/json", headers=callers.ehr
    )
    assert_error_shape(answer, 400, fhir=False, code="malformed")


@pytest.mark.parametrize(
    "server",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://fhir.example.org/r4",
        "//evil.example",
        "file:///etc/passwd",
        "hospital/../..",
        "hospital\n",
        "evil.example:80",
        "HOSPITAL",
    ],
)
def test_an_address_is_never_taken_for_a_server(
    client: FlaskClient, callers, behind: InProcess, server: str
) -> None:
    answer = start(client, callers.ehr, server=server)
    assert_error_shape(answer, 422, fhir=False, code="address-refused")
    assert server not in answer.get_data(as_text=True)
    assert behind.requests == []


def test_a_server_that_is_not_configured(client: FlaskClient, callers) -> None:
    answer = start(client, callers.ehr, server="elsewhere")
    assert_error_shape(answer, 422, fhir=False, code="unknown-server")
    assert "archive, hospital" in answer.get_json(force=True)["detail"]


def test_servers_are_listed_without_their_addresses(client: FlaskClient, callers) -> None:
    answer = client.get("/api/v1/servers", headers=callers.ehr)
    assert answer.get_json() == {
        "items": [
            {"name": "archive", "writeBack": False},
            {"name": "hospital", "writeBack": True},
        ]
    }


def test_writing_where_writing_is_off(client: FlaskClient, callers) -> None:
    refused = start(client, callers.ehr, server="archive", writeBack=True)
    assert_error_shape(refused, 422, fhir=False, code="write-back-off")
    assert start(client, callers.ehr, server="archive").status_code == 201


def test_models_and_policies_nobody_knows(client: FlaskClient, callers) -> None:
    answer = start(client, callers.ehr, models=["tarot"])
    assert_error_shape(answer, 422, fhir=False, code="unknown-model")
    answer = start(client, callers.ehr, policy="none")
    assert_error_shape(answer, 422, fhir=False, code="unknown-policy")


def test_a_busy_service_says_when_to_come_back(client: FlaskClient, callers) -> None:
    answer = start(client, callers.ehr, patient="busy")
    assert_error_shape(answer, 503, fhir=False, code="busy")
    assert answer.headers["Retry-After"] == "7"


# -- twins ---------------------------------------------------------------------------------------


def test_a_twin_is_served_byte_for_byte(client: FlaskClient, callers) -> None:
    for path, version in ((f"{TWIN}", 2), (f"{TWIN}/versions/1", 1), (f"{TWIN}/versions/2", 2)):
        answer = client.get(f"/api/v1/twins/{path}", headers=callers.patient)
        assert answer.data == FILES[TWIN, version]
        assert answer.headers["Content-Type"] == "application/vnd.twinport.twin+json;version=1"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="twin.json"'
        etag = hashlib.sha256(answer.data).hexdigest()
        assert answer.headers["ETag"] == f'"{etag}"'
        same = client.get(
            f"/api/v1/twins/{path}", headers={**callers.patient, "If-None-Match": f'"{etag}"'}
        )
        assert (same.status_code, same.data) == (304, b"")
        assert same.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "accept", ["application/vnd.twinport.twin+json", "application/json", "*/*", "application/*"]
)
def test_what_a_twin_may_be_asked_for_as(client: FlaskClient, callers, accept: str) -> None:
    headers = {**callers.ehr, "Accept": accept}
    assert client.get(f"/api/v1/twins/{TWIN}", headers=headers).status_code == 200


def test_versions_assessments_and_ledger(client: FlaskClient, callers) -> None:
    base, headers = f"/api/v1/twins/{TWIN}", callers.patient
    versions = client.get(f"{base}/versions", headers=headers).get_json()["items"]
    assert [(v["version"], v["parent"]) for v in versions] == [(2, "sha256:1"), (1, None)]
    assessments = client.get(f"{base}/assessments", headers=headers).get_json()["items"]
    assert assessments[0]["results"] == [{"value": 0.1423}]
    assert client.get(f"{base}/ledger", headers=headers).get_json()["items"][0]["seq"] == 1


@pytest.mark.parametrize("path", ["versions/0", "versions/3", "versions/x", "versions/-1"])
def test_versions_that_are_not_there(client: FlaskClient, callers, path: str) -> None:
    assert_error_shape(
        client.get(f"/api/v1/twins/{TWIN}/{path}", headers=callers.ehr), 404, fhir=False
    )


def test_verifying_the_ledger_is_for_the_officer(client: FlaskClient, callers) -> None:
    path = "/api/v1/ledger/verification"
    found = client.post(path, headers=callers.officer).get_json()
    assert found == {"ok": True, "entries": 1, "head": "sha256:1", "problems": []}
    for headers in (callers.ehr, callers.patient, callers.admin):
        assert_error_shape(client.post(path, headers=headers), 403, fhir=False, code="forbidden")


def test_the_state_of_the_ledger_says_when_it_was_verified(client: FlaskClient, callers) -> None:
    found = client.get("/api/v1/ledger", headers=callers.officer).get_json()
    assert found == {
        "entries": 1,
        "head": "sha256:1",
        "verified": {"at": "2031-03-09T12:00:00+00:00", "ok": True, "entries": 1},
    }


# -- models --------------------------------------------------------------------------------------


def test_models(client: FlaskClient, callers) -> None:
    for headers in (callers.ehr, callers.patient, callers.officer, callers.admin):
        listed = client.get("/api/v1/models", headers=headers).get_json()["items"]
        assert listed == [{"id": "prevent", "version": "1.0.0", "title": "PREVENT"}]
    card = client.get("/api/v1/models/prevent", headers=callers.ehr).get_json()
    assert card["intendedUse"] == "…"
    missing = client.get("/api/v1/models/tarot", headers=callers.ehr)
    assert_error_shape(missing, 404, fhir=False, code="not-found")


def test_query_parameters_nobody_reads_are_refused(client: FlaskClient, callers) -> None:
    for path in ("/api/v1/models", f"/api/v1/twins/{TWIN}", "/api/v1/servers"):
        answer = client.get(f"{path}?patient=1", headers=callers.ehr)
        assert_error_shape(answer, 422, fhir=False, code="invalid")
        assert answer.get_json(force=True)["errors"][0]["pointer"] == "/query/patient"
