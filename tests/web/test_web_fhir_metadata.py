"""The CapabilityStatement is true: what it lists works, and what it does not list does not."""

import itertools
from typing import Any

import pytest
from error_shape import assert_error_shape
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.operationdefinition import OperationDefinition
from flask import Flask
from flask.testing import FlaskClient
from web_support import RESOURCES, TWIN

# R4's resource types that a façade of this kind might be asked for.
TYPES = [
    "Patient",
    "Observation",
    "Condition",
    "RiskAssessment",
    "Device",
    "Provenance",
    "Encounter",
    "ImagingStudy",
    "Bundle",
    "OperationDefinition",
    "AuditEvent",
    "DocumentReference",
    "Parameters",
    "CapabilityStatement",
    "Binary",
    "Group",
]
VALUES = {
    "_id": "riskassessment-1",
    "_lastUpdated": "ge2000",
    "identifier": "urn:test|RiskAssessment-1",
    "patient": TWIN,
    "subject": f"Patient/{TWIN}",
    "target": "RiskAssessment/riskassessment-1",
}


@pytest.fixture
def client(steady) -> FlaskClient:
    return steady.client


@pytest.fixture
def callers(steady):
    return steady.callers


@pytest.fixture
def statement(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/fhir/metadata").get_json(force=True)
    return found


@pytest.fixture
def listed(statement: dict[str, Any]) -> set[tuple[str, str]]:
    """(type, interaction) and (type, $operation) pairs."""
    return {
        (resource["type"], code)
        for resource in statement["rest"][0]["resource"]
        for code in (
            *(i["code"] for i in resource.get("interaction", ())),
            *(f"${o['name']}" for o in resource.get("operation", ())),
        )
    }


def test_both_documents_are_valid_fhir(
    client: FlaskClient, callers, statement: dict[str, Any]
) -> None:
    CapabilityStatement.model_validate(statement)
    definition = client.get("/fhir/OperationDefinition/assess", headers=callers.ehr)
    OperationDefinition.model_validate(definition.get_json(force=True))


def test_it_lists_this(listed: set[tuple[str, str]]) -> None:
    ours = ("RiskAssessment", "Observation", "Device", "Provenance")
    assert listed == {
        *itertools.product(ours, ("read", "search-type")),
        ("OperationDefinition", "read"),
        ("Patient", "$assess"),
    }


def test_what_is_listed_works(client: FlaskClient, callers, listed: set[tuple[str, str]]) -> None:
    headers = callers.ehr
    examples = {r.type: r.id for r in reversed(RESOURCES)} | {"OperationDefinition": "assess"}
    for kind, code in listed:
        if code == "read":
            answer = client.get(f"/fhir/{kind}/{examples[kind]}", headers=headers)
            assert answer.get_json(force=True)["id"] == examples[kind]
        elif code == "search-type":
            for answer in (
                client.get(f"/fhir/{kind}", headers=headers),
                client.post(f"/fhir/{kind}/_search", data={"_count": "1"}, headers=headers),
            ):
                assert answer.get_json(force=True)["type"] == "searchset"
        else:
            body = {
                "resourceType": "Parameters",
                "parameter": [{"name": "server", "valueString": "hospital"}],
            }
            answer = client.post(f"/fhir/{kind}/p/{code}", json=body, headers=headers)
            assert answer.get_json(force=True)["resourceType"] == "Bundle"


def test_what_is_not_listed_does_not_work(
    client: FlaskClient, callers, listed: set[tuple[str, str]]
) -> None:
    headers = callers.ehr
    attempts = {
        "read": ("GET", "/x"),
        "vread": ("GET", "/x/_history/1"),
        "history-instance": ("GET", "/x/_history"),
        "history-type": ("GET", "/_history"),
        "search-type": ("GET", ""),
        "create": ("POST", ""),
        "update": ("PUT", "/x"),
        "patch": ("PATCH", "/x"),
        "delete": ("DELETE", "/x"),
        "$everything": ("GET", "/x/$everything"),
        "$assess": ("POST", "/x/$assess"),
    }
    for kind, (code, (method, rest)) in itertools.product(TYPES, attempts.items()):
        if (kind, code) not in listed:
            answer = client.open(f"/fhir/{kind}{rest}", method=method, headers=headers)
            assert answer.status_code in (404, 405), (kind, code)
            assert_error_shape(answer, answer.status_code, fhir=True)
    for answer in (client.post("/fhir", json={}), client.get("/fhir/_history")):
        assert_error_shape(answer, 404, fhir=True)


def test_every_search_parameter_listed_filters_and_no_other_does(
    client: FlaskClient, callers, statement: dict[str, Any]
) -> None:
    headers = {**callers.ehr, "Prefer": "handling=strict"}
    for resource in statement["rest"][0]["resource"]:
        names = {p["name"] for p in resource.get("searchParam", ())}
        for name, value in VALUES.items() if names else ():
            answer = client.get(f"/fhir/{resource['type']}?{name}={value}", headers=headers)
            if name not in names:
                assert_error_shape(answer, 400, fhir=True, code="not-supported")
                continue
            link = answer.get_json(force=True)["link"][0]["url"]
            assert f"{name}=" in link


def test_the_operation_is_where_the_statement_says(
    client: FlaskClient, callers, statement: dict[str, Any]
) -> None:
    patient = next(r for r in statement["rest"][0]["resource"] if r["type"] == "Patient")
    definition = client.get(patient["operation"][0]["definition"], headers=callers.ehr)
    body = definition.get_json(force=True)
    assert body["url"] == patient["operation"][0]["definition"]
    assert (body["code"], body["instance"], body["type"]) == ("assess", True, False)
    assert body["affectsState"] is True


def test_both_documents_have_etags(client: FlaskClient, callers) -> None:
    for path in ("/fhir/metadata", "/fhir/OperationDefinition/assess"):
        first = client.get(path, headers=callers.ehr)
        assert first.headers["ETag"].startswith('W/"')
        headers = {**callers.ehr, "If-None-Match": first.headers["ETag"]}
        assert client.get(path, headers=headers).status_code == 304


@pytest.mark.parametrize("mode", ["full", "normative", "terminology"])
def test_modes(client: FlaskClient, mode: str) -> None:
    assert client.get(f"/fhir/metadata?mode={mode}").status_code == 200
    assert client.head("/fhir/metadata").data == b""


def test_a_mode_that_is_none(client: FlaskClient) -> None:
    answer = client.get("/fhir/metadata?mode=x")
    assert_error_shape(answer, 400, fhir=True, code="bad-value")


# -- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "query", "served"),
    [
        (None, "", True),
        ("*/*", "", True),
        ("application/json", "", True),
        ("application/fhir+json", "", True),
        ("application/fhir+json; fhirVersion=4.0", "", True),
        ("text/html, application/fhir+json;q=0.2", "", True),
        ("application/fhir+json; fhirVersion=5.0", "", False),
        ("application/fhir+json;q=0", "", False),
        ("application/fhir+xml", "", False),
        ("text/html", "", False),
        ("text/html", "_format=json", True),
        ("text/html", "_format=application/fhir%2Bjson", True),
        ("text/html", "_format=application/fhir+json", True),
        ("application/fhir+json", "_format=xml", False),
        (None, "_format=application/fhir%2Bxml", False),
        (None, "_format=*/*", False),
        (None, "_format=text/turtle", False),
    ],
)
def test_formats(client: FlaskClient, accept: str | None, query: str, served: bool) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = client.get(f"/fhir/metadata?{query}", headers=headers)
    if served:
        assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        assert answer.status_code == 200
    else:
        assert_error_shape(answer, 406, fhir=True, code="not-acceptable")


def test_pretty(client: FlaskClient) -> None:
    assert b"\n  " in client.get("/fhir/metadata?_pretty=true").data
    assert b"\n" not in client.get("/fhir/metadata").data


@pytest.mark.parametrize(
    "kind", ["application/fhir+json; fhirVersion=5.0", "text/plain", "application/fhir+xml", ""]
)
def test_bodies_of_another_format(client: FlaskClient, callers, kind: str) -> None:
    headers = {**callers.ehr, "Content-Type": kind}
    answer = client.post("/fhir/Patient/p/$assess", data=b"{}", headers=headers)
    assert_error_shape(answer, 415, fhir=True, code="unsupported-media-type")
    answer = client.post("/fhir/Device/_search", data=b"{}", headers=headers)
    assert_error_shape(answer, 415, fhir=True, code="unsupported-media-type")


def test_the_statement_follows_the_routing_table(app: Flask, statement: dict[str, Any]) -> None:
    types = {r["type"] for r in statement["rest"][0]["resource"]}
    served = {
        rule.rule.split("/")[2] for rule in app.url_map.iter_rules() if rule.endpoint[:5] == "fhir."
    }
    assert types == {name for name in served if name[0].isupper()}
