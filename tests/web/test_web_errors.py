"""Every kind of failure, on every route, has the one shape of its audience."""

import io
import itertools
import re
from collections.abc import Iterator

import pytest
from error_shape import assert_error_shape
from flask import Flask
from flask.testing import FlaskClient
from web_support import TWIN, InProcess
from werkzeug.exceptions import HTTPException, default_exceptions

from service.web.audiences import audiences
from service.web.errors import KINDS, WebError, is_fhir, safe_path
from service.web.ports import Failure

FHIR_JSON = "application/fhir+json"
# R4's issue-type code system.
ISSUE_TYPES = {
    "invalid",
    "structure",
    "required",
    "value",
    "invariant",
    "security",
    "login",
    "unknown",
    "expired",
    "forbidden",
    "suppressed",
    "processing",
    "not-supported",
    "duplicate",
    "multiple-matches",
    "not-found",
    "deleted",
    "too-long",
    "code-invalid",
    "extension",
    "too-costly",
    "business-rule",
    "conflict",
    "transient",
    "lock-error",
    "no-store",
    "exception",
    "timeout",
    "incomplete",
    "throttled",
    "informational",
}


def paths(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Every rule as (endpoint, a path that matches it, one of its methods)."""
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<int:version>", "1").replace("<path:filename>", "twinport.css")
        path = path.replace("<pseudonym>", TWIN)
        path = re.sub(r"<[^>]+>", "x", path)
        for method in sorted(rule.methods or ()):
            yield rule.endpoint, path, method


def test_every_failure_of_the_service_is_in_the_table_with_a_next_step() -> None:
    assert {failure.value for failure in Failure} <= KINDS.keys()
    for kind in KINDS.values():
        assert 400 <= kind.status < 600
        assert kind.issue in ISSUE_TYPES
        assert kind.title
        assert kind.next_step.endswith(".")


def test_every_error_of_the_framework_has_a_shape(app: Flask, client: FlaskClient) -> None:
    for status, kind in default_exceptions.items():
        with app.test_request_context("/fhir/x"):
            app.preprocess_request()
            answer = app.make_response(app.handle_user_exception(kind()))
        assert answer.status_code in (status, 500), kind
        assert answer.mimetype == FHIR_JSON


def test_closed_routes_ask_for_sign_in(app: Flask, client: FlaskClient) -> None:
    known = audiences(app)
    for endpoint, path, method in paths(app):
        if known[endpoint].is_open or (known[endpoint].is_page and method in ("GET", "HEAD")):
            continue
        answer = client.open(path, method=method)
        assert_error_shape(answer, 401, fhir=path.startswith("/fhir"), code="sign-in-needed")


def test_methods_that_are_not_there(app: Flask, client: FlaskClient) -> None:
    for _, path, _ in paths(app):
        answer = client.open(path, method="TRACE")
        assert_error_shape(answer, 405, fhir=path.startswith("/fhir"), code="method-not-allowed")


@pytest.mark.parametrize(
    ("path", "fhir"),
    [
        ("/nothing", False),
        ("/api/v1/nothing", False),
        ("/fhirish", False),
        ("/livez/", False),
        ("/fhir", True),
        ("/fhir/", True),
        ("/fhir/Encounter", True),
        ("/fhir/Encounter/1", True),
        ("/fhir/Patient/1", True),
        ("/fhir/Patient/1/$everything", True),
        ("/fhir/$assess", True),
        ("/fhir/Patient/$assess", True),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_addresses_that_are_not_there(
    client: FlaskClient, path: str, fhir: bool, method: str
) -> None:
    code = "unknown-type" if fhir else "unknown-route"
    assert_error_shape(client.open(path, method=method), 404, fhir=fhir, code=code)


def test_bodies_larger_than_allowed(client: FlaskClient, callers) -> None:
    large = b"x" * 5000
    for path, fhir in (("/api/v1/runs", False), ("/fhir/Patient/1/$assess", True), ("/no", False)):
        answer = client.post(path, data=large, headers=callers.ehr)
        assert_error_shape(answer, 413, fhir=fhir, code="body-too-large")


def test_addresses_longer_than_allowed(client: FlaskClient, callers) -> None:
    query = "a=" + "x" * 5000
    for path, fhir in (("/api/v1/runs", False), ("/fhir/RiskAssessment", True)):
        answer = client.get(path, query_string=query, headers=callers.ehr)
        assert_error_shape(answer, 414, fhir=fhir, code="address-too-long")


def test_formats_nobody_serves(client: FlaskClient, callers) -> None:
    accept = {"Accept": "text/turtle", **callers.ehr}
    for path, fhir in (("/api/v1/models", False), ("/openapi.json", False), ("/fhir/Device", True)):
        answer = client.get(path, headers=accept)
        assert_error_shape(answer, 406, fhir=fhir, code="not-acceptable")


def test_media_types_nobody_reads(client: FlaskClient, callers) -> None:
    for path, fhir in (("/api/v1/runs", False), ("/fhir/Patient/1/$assess", True)):
        answer = client.post(path, data="<x/>", content_type="text/xml", headers=callers.ehr)
        assert_error_shape(answer, 415, fhir=fhir, code="unsupported-media-type")


def test_a_bug_is_a_500_that_says_nothing_of_its_cause(client: FlaskClient, callers) -> None:
    run = {"server": "hospital", "patient": "break"}
    answer = client.post("/api/v1/runs", json=run, headers=callers.ehr)
    assert_error_shape(answer, 500, fhir=False, code="internal")
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "server", "valueString": "hospital"}],
    }
    answer = client.post("/fhir/Patient/break/$assess", json=parameters, headers=callers.ehr)
    assert_error_shape(answer, 500, fhir=True, code="internal")
    assert b"break" not in answer.data


def test_not_ready_is_a_503_that_names_what_is_missing(
    client: FlaskClient, behind: InProcess
) -> None:
    behind.ready["migrations"] = False
    answer = client.get("/readyz")
    assert_error_shape(answer, 503, fhir=False, code="busy")
    assert answer.get_json()["detail"] == "Not ready: migrations."


def test_every_failure_of_the_service_has_a_shape(app: Flask) -> None:
    for failure, path in itertools.product(Failure, ("/api/v1/runs", "/fhir/Device")):
        with app.test_request_context(path):
            app.preprocess_request()
            answer = app.make_response(app.handle_user_exception(WebError(failure)))
            kind = FHIR_JSON if is_fhir() else "application/problem+json"
        assert (answer.status_code, answer.mimetype) == (KINDS[failure].status, kind)


def test_a_body_of_unknown_length_is_not_cut_off_but_refused(client: FlaskClient, callers) -> None:
    for path, fhir in (("/fhir/Device/_search", True), ("/sign-in", False)):
        answer = client.post(
            path,
            input_stream=io.BytesIO(b"_id=" + b"x" * 5000),
            content_type="application/x-www-form-urlencoded",
            headers={**callers.ehr, "Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert_error_shape(answer, 413, fhir=fhir, code="body-too-large")


def test_a_path_shows_member_names_and_hides_anything_else() -> None:
    assert safe_path(["models", 0]) == "/models/0"
    for value in ("John Smith", "1950-01-01", "p-123", "12345678", "", "ü"):
        assert safe_path([value]) == "/?"


def test_an_unknown_http_error_is_an_internal_one(app: Flask) -> None:
    class Teapot(HTTPException):
        code = 418

    with app.test_request_context("/api/v1/runs"):
        app.preprocess_request()
        assert app.make_response(app.handle_user_exception(Teapot())).status_code == 500
