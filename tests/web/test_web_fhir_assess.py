"""`$assess`: what it takes, what it answers, at once and asynchronously."""

from typing import Any

import pytest
from error_shape import assert_error_shape
from fhir.resources.R4B.bundle import Bundle
from flask.testing import FlaskClient
from web_support import InProcess

from service.web.errors import KINDS
from service.web.ports import Failure, RunRequest

SERVER = {"name": "server", "valueString": "hospital"}
ADDRESS = "/fhir/Patient/p-1/$assess"


def parameters(*given: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [SERVER, *given]}


def assess(client: FlaskClient, headers: dict[str, str], body: Any, address: str = ADDRESS):
    kind = {"Content-Type": "application/fhir+json"}
    return client.post(address, json=body, headers={**kind, **headers})


def test_a_bundle_comes_back(client: FlaskClient, callers, behind: InProcess) -> None:
    given = parameters(
        {"name": "model", "valueString": "prevent"},
        {"name": "model", "valueString": "prevent"},
        {"name": "policy", "valueString": "safe-harbor"},
        {"name": "writeBack", "valueBoolean": False},
        {"name": "onlyNeeded", "valueBoolean": True},
        {"name": "encounter", "valueId": "e-1"},
    )
    answer = assess(client, callers.ehr, given)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    bundle = answer.get_json(force=True)
    assert bundle["type"] == "collection"
    assert [entry.keys() for entry in bundle["entry"]] == [{"fullUrl", "resource"}]
    assert behind.requests == [
        RunRequest("hospital", "p-1", ("prevent",), "safe-harbor", False, True, encounter="e-1")
    ]


@pytest.mark.parametrize(
    ("body", "status", "code", "expression"),
    [
        ([], 400, "malformed", None),
        ({"resourceType": "Bundle"}, 400, "malformed", None),
        ({"resourceType": "Parameters"}, 400, "required", "Parameters.parameter"),
        ({**parameters(), "implicitRules": "x"}, 400, "malformed", "Parameters"),
        ({**parameters(), "parameter": {}}, 400, "malformed", "Parameters.parameter"),
        (parameters("x"), 400, "malformed", "Parameters.parameter[1]"),
        (parameters({}), 400, "fhir-invalid", "Parameters.parameter[1].name"),
        (parameters({"name": ["server"]}), 400, "fhir-invalid", "Parameters.parameter[1].name"),
        (
            parameters({"name": "x", "valueString": "y"}),
            400,
            "fhir-invalid",
            "Parameters.parameter[1].name",
        ),
        (
            parameters({"name": "policy", "valueCode": "y"}),
            400,
            "bad-value",
            "Parameters.parameter[1]",
        ),
        (
            parameters({"name": "policy", "valueString": "y", "part": []}),
            400,
            "bad-value",
            "Parameters.parameter[1]",
        ),
        (
            parameters({"name": "policy", "valueString": ""}),
            400,
            "bad-value",
            "Parameters.parameter[1].value",
        ),
        (
            parameters({"name": "writeBack", "valueBoolean": "true"}),
            400,
            "bad-value",
            "Parameters.parameter[1].value",
        ),
        (
            parameters({"name": "model", "valueString": "a b"}),
            400,
            "bad-value",
            "Parameters.parameter",
        ),
        (
            parameters({"name": "encounter", "valueId": "../x"}),
            400,
            "bad-value",
            "Parameters.parameter",
        ),
        (parameters(SERVER), 400, "fhir-invalid", "Parameters.parameter"),
        (parameters({"name": "model", "valueString": "tarot"}), 422, "unknown-model", None),
        (parameters({"name": "policy", "valueString": "none"}), 422, "unknown-policy", None),
    ],
)
def test_what_is_refused(
    client: FlaskClient, callers, body: Any, status: int, code: str, expression: str | None
) -> None:
    answer = assess(client, callers.ehr, body)
    assert_error_shape(answer, status, fhir=True, code=code)
    issue = answer.get_json(force=True)["issue"][0]
    assert issue.get("expression") == ([expression] if expression else None)


@pytest.mark.parametrize("server", ["http://10.0.0.1/fhir", "https://fhir.example.org/r4", "//x"])
def test_an_address_is_never_taken_for_a_server(
    client: FlaskClient, callers, behind: InProcess, server: str
) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "server", "valueString": server}],
    }
    answer = assess(client, callers.ehr, body)
    assert_error_shape(answer, 422, fhir=True, code="address-refused")
    assert server not in answer.get_data(as_text=True)
    assert behind.requests == []


@pytest.mark.parametrize("patient", ["a_b", "x" * 65, "%20", "ü"])
def test_what_cannot_be_a_patients_id(client: FlaskClient, callers, patient: str) -> None:
    answer = assess(client, callers.ehr, parameters(), f"/fhir/Patient/{patient}/$assess")
    assert_error_shape(answer, 404, fhir=True, code="patient-not-found")


def test_parameters_in_the_address_are_refused(client: FlaskClient, callers) -> None:
    answer = assess(client, callers.ehr, parameters(), f"{ADDRESS}?server=hospital")
    assert_error_shape(answer, 400, fhir=True, code="not-supported")


def test_it_changes_something_and_is_therefore_no_get(client: FlaskClient, callers) -> None:
    answer = client.get(ADDRESS, headers=callers.ehr)
    assert_error_shape(answer, 405, fhir=True, code="method-not-allowed")
    assert answer.headers["Allow"] == "POST"


def test_every_failure_is_an_outcome_that_names_the_run(client: FlaskClient, callers) -> None:
    headers = callers.ehr
    for failure in set(Failure) - {Failure.CANCELLED, Failure.STILL_RUNNING}:
        answer = assess(client, headers, parameters(), f"/fhir/Patient/fail-{failure}/$assess")
        assert_error_shape(answer, KINDS[failure].status, fhir=True, code=failure)
        assert "Run " in answer.get_json(force=True)["issue"][0]["diagnostics"]


# -- asynchronously ------------------------------------------------------------------------------


def test_the_asynchronous_pattern(client: FlaskClient, callers, behind: InProcess) -> None:
    headers = {**callers.ehr, "Prefer": "respond-async"}
    accepted = assess(client, headers, parameters())
    assert accepted.status_code == 202
    assert accepted.headers["Preference-Applied"] == "respond-async"
    status = accepted.headers["Content-Location"]
    assert status.startswith("http://localhost/fhir/_async/")

    waiting = client.get(status, headers=headers)
    assert (waiting.status_code, waiting.data) == (202, b"")
    assert waiting.headers["X-Progress"] == "queued"
    assert int(waiting.headers["Retry-After"]) >= 1

    behind.work(status.rpartition("/")[2], behind.requests[0])
    done = client.get(status, headers=headers)
    bundle = done.get_json(force=True)
    assert (done.status_code, bundle["type"]) == (200, "batch-response")
    assert bundle["entry"][0]["response"] == {"status": "200 OK"}
    assert bundle["entry"][0]["resource"]["resourceType"] == "Bundle"
    Bundle.model_validate({**bundle, "entry": []})


def test_an_asynchronous_run_that_fails(client: FlaskClient, callers, behind: InProcess) -> None:
    headers = {**callers.ehr, "Prefer": "respond-async"}
    address = "/fhir/Patient/fail-upstream-timeout/$assess"
    status = assess(client, headers, parameters(), address).headers["Content-Location"]
    behind.work(status.rpartition("/")[2], behind.requests[0])
    answer = client.get(status, headers=headers)
    assert_error_shape(answer, 504, fhir=True, code="upstream-timeout")


def test_cancelling_an_asynchronous_run(client: FlaskClient, callers) -> None:
    headers = {**callers.ehr, "Prefer": "respond-async"}
    status = assess(client, headers, parameters()).headers["Content-Location"]
    foreign = client.delete(status, headers=callers.ehr)
    assert_error_shape(foreign, 404, fhir=True, code="not-found")
    assert client.delete(status, headers=headers).status_code == 202
    answer = client.get(status, headers=headers)
    assert_error_shape(answer, 409, fhir=True, code="cancelled")


def test_a_run_longer_than_a_call_may_wait_becomes_asynchronous(
    client: FlaskClient, callers
) -> None:
    headers = callers.ehr
    answer = assess(client, headers, parameters(), "/fhir/Patient/slow/$assess")
    assert answer.status_code == 202
    assert client.get(answer.headers["Content-Location"], headers=headers).status_code == 202
