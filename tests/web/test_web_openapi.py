"""The OpenAPI document is whole, valid, and true: each documented status is reached here."""

import re
from typing import Any, NamedTuple

import jsonschema_rs
import pytest
from flask import Flask
from flask.testing import FlaskClient
from web_support import TWIN

from service.web.api.openapi import EVERYWHERE, routes
from service.web.errors import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
RUN = {"server": "hospital", "patient": "p-1"}


@pytest.fixture
def client(steady) -> FlaskClient:
    return steady.client


@pytest.fixture
def callers(steady):
    return steady.callers


@pytest.fixture
def document(client: FlaskClient, callers) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json", headers=callers.ehr).get_json()
    return found


def test_every_route_of_the_api_is_in_it(app: Flask, document: dict[str, Any]) -> None:
    documented = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert documented == served


def test_it_is_an_openapi_3_1_document_whose_schemas_are_json_schemas(
    document: dict[str, Any],
) -> None:
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "$schema": DIALECT})


def test_every_reference_in_it_resolves(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    found = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert found
    assert found <= schemas.keys()


def test_the_page_for_people_holds_every_operation_and_problem(
    client: FlaskClient, callers, document: dict[str, Any]
) -> None:
    page = client.get("/docs", headers=callers.ehr).get_data(as_text=True)
    assert "<script" not in page
    assert "style=" not in page
    for path, item in document["paths"].items():
        for method in item:
            assert f"{method.upper()} {path}" in page
    for code in KINDS:
        assert f'id="problem-{code}"' in page


# -- truth ---------------------------------------------------------------------------------------


class Case(NamedTuple):
    """One way to a documented status, beyond those that every route has."""

    method: str
    path: str  # as documented
    status: int
    role: str = "ehr"
    body: dict[str, Any] | None = None
    values: dict[str, str] = {}  # noqa: RUF012 - read only
    headers: dict[str, str] = {}  # noqa: RUF012 - read only
    query: str = ""
    raw: bytes | None = None


def failing(code: str) -> dict[str, Any]:
    return {**RUN, "patient": f"fail-{code}"}


T, GONE = {"pseudonym": TWIN}, {"pseudonym": "C" * 22}
EXTRA = "surplus=1"
RUNS, ONE_RUN = "/api/v1/runs", "/api/v1/runs/{run_id}"
TWINS = "/api/v1/twins/{pseudonym}"
WHATIF = TWINS + "/whatif"
VERSION = TWINS + "/versions/{version}"
CASES = [
    Case("POST", RUNS, 201, body=RUN),
    Case("POST", RUNS, 202, body=RUN, headers={"Prefer": "respond-async"}),
    Case("POST", RUNS, 400, raw=b"{"),
    Case("POST", RUNS, 403, body=failing("not-consented")),
    Case("POST", RUNS, 404, body=failing("patient-not-found")),
    Case("POST", RUNS, 409, body={**RUN, "patient": "cancelled"}),
    Case("POST", RUNS, 415, raw=b"<x/>", headers={"Content-Type": "text/xml"}),
    Case("POST", RUNS, 422, body={}),
    Case("POST", RUNS, 429, body={**RUN, "patient": "one-too-many"}),
    Case("POST", RUNS, 500, body={**RUN, "patient": "break"}),
    Case("POST", RUNS, 502, body=failing("upstream-unreachable")),
    Case("POST", RUNS, 503, body={**RUN, "patient": "busy"}),
    Case("POST", RUNS, 504, body=failing("upstream-timeout")),
    Case("GET", RUNS, 200, "privacy-officer"),
    Case("GET", RUNS, 422, query=EXTRA),
    Case("GET", ONE_RUN, 200, values={"run_id": "done"}),
    Case("GET", ONE_RUN, 404, values={"run_id": "nothing"}),
    Case("GET", ONE_RUN, 422, values={"run_id": "done"}, query=EXTRA),
    Case("DELETE", ONE_RUN, 202, values={"run_id": "queued"}),
    Case("DELETE", ONE_RUN, 404, values={"run_id": "nothing"}),
    Case("DELETE", ONE_RUN, 409, values={"run_id": "done"}),
    Case("DELETE", ONE_RUN, 422, values={"run_id": "done"}, query=EXTRA),
    Case("GET", "/api/v1/servers", 200),
    Case("GET", "/api/v1/servers", 422, query=EXTRA),
    Case("GET", TWINS, 200, values=T),
    Case("GET", TWINS, 304, values=T, headers={"If-None-Match": "*"}),
    Case("GET", TWINS, 403, values=T, query="purpose=research"),
    Case("GET", TWINS, 404, values=GONE),
    Case("GET", TWINS, 422, values=T, query=EXTRA),
    Case("GET", VERSION, 200, values={**T, "version": "1"}),
    Case("GET", VERSION, 304, values={**T, "version": "1"}, headers={"If-None-Match": "*"}),
    Case("GET", VERSION, 403, values={**T, "version": "1"}, query="purpose=research"),
    Case("GET", VERSION, 404, values={**T, "version": "7"}),
    Case("GET", VERSION, 422, values={**T, "version": "1"}, query=EXTRA),
    *(
        Case("GET", f"{TWINS}/{below}", status, values=values, query=query)
        for below in ("versions", "assessments", "disputes", "ledger")
        for status, values, query in ((200, T, ""), (404, GONE, ""), (422, T, EXTRA))
    ),
    Case("GET", f"{TWINS}/assessments", 403, values=T, query="purpose=research"),
    Case("GET", "/api/v1/ledger", 200, "privacy-officer"),
    Case("GET", "/api/v1/ledger", 422, "privacy-officer", query=EXTRA),
    Case("POST", "/api/v1/ledger/verification", 200, "privacy-officer"),
    Case("POST", "/api/v1/ledger/verification", 422, "privacy-officer", query=EXTRA),
    Case("POST", WHATIF, 200, values=T, body={"model": "prevent", "treatment": "lower-ldl-1"}),
    Case("POST", WHATIF, 400, values=T, raw=b"{"),
    Case(
        *("POST", WHATIF, 403),
        values=T,
        body={"model": "prevent", "treatment": "lower-ldl-1"},
        query="purpose=research",
    ),
    Case("POST", WHATIF, 404, values=GONE, body={"model": "prevent"}),
    Case("POST", WHATIF, 415, values=T, raw=b"<x/>", headers={"Content-Type": "text/xml"}),
    Case("POST", WHATIF, 422, values=T, body={"model": "prevent"}),
    Case("GET", "/api/v1/reviews/reliance", 200, "admin"),
    Case("GET", "/api/v1/reviews/reliance", 422, "admin", query=EXTRA),
    Case("GET", "/api/v1/models", 200),
    Case("GET", "/api/v1/models", 422, query=EXTRA),
    Case("GET", "/api/v1/models/{model_id}", 200, values={"model_id": "prevent"}),
    Case("GET", "/api/v1/models/{model_id}", 404, values={"model_id": "tarot"}),
    Case("GET", "/api/v1/models/{model_id}", 422, values={"model_id": "tarot"}, query=EXTRA),
]
# Reached on every route at once by the tests of the gate and of the shape of errors.
OF_THE_GATE = {KINDS[code].status for code in EVERYWHERE}


def test_the_cases_are_what_is_documented(app: Flask) -> None:
    documented = {
        (route.method, route.path, status)
        for route in routes(app)
        for status in (*route.description.answers, *route.statuses)
        if not (status in OF_THE_GATE and status not in _own_statuses(route))
    }
    assert {(case.method, case.path, case.status) for case in CASES} == documented


def _own_statuses(route: Any) -> set[int]:
    own = {KINDS[code].status for code in route.description.problems}
    return own | set(route.description.answers)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.method} {c.path} {c.status} {c.query}")
def test_each_documented_status_is_reached_with_a_body_of_its_schema(
    case: Case,
    client: FlaskClient,
    callers,
    document: dict[str, Any],
) -> None:
    headers = {
        "ehr": callers.ehr,
        "privacy-officer": callers.officer,
        "admin": callers.admin,
    }[case.role]
    values = {name: _value(value, client, headers) for name, value in case.values.items()}
    sent = {"json": case.body} if case.body is not None else {"data": case.raw}
    kind = {"Content-Type": "application/json"} if case.raw else {}
    answer = client.open(
        case.path.format(**values) + (f"?{case.query}" if case.query else ""),
        method=case.method,
        headers={**headers, **kind, **case.headers},
        **sent,
    )
    assert answer.status_code == case.status, answer.get_data(as_text=True)
    documented = document["paths"][case.path][case.method.lower()]["responses"][str(case.status)]
    assert set(documented.get("headers", ())) <= {*answer.headers.keys(), "Retry-After"}
    if "content" in documented:
        _check_body(documented["content"], answer, document)


def _value(value: str, client: FlaskClient, headers: dict[str, str]) -> str:
    """The id of a run in the state that is asked for."""
    if value not in ("done", "queued"):
        return value
    prefer = {"Prefer": "respond-async"} if value == "queued" else {}
    run = client.post(RUNS, json=RUN, headers={**headers, **prefer}).get_json()
    return str(run["id"])


def _check_body(content: dict[str, Any], answer: Any, document: dict[str, Any]) -> None:
    assert answer.headers["Content-Type"] in content
    schema = content[answer.headers["Content-Type"]]["schema"]
    whole = {**schema, "components": document["components"]}
    jsonschema_rs.validate(whole, answer.get_json(force=True))
