"""The one assertion about errors: whatever failed, and wherever, the answer looks like this."""

import re

from werkzeug.test import TestResponse

from service.web.errors import KINDS

_ISSUE_MEMBERS = {"severity", "code", "details", "diagnostics", "expression"}
_PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "errors", "run"}


def assert_error_shape(
    response: TestResponse, status: int, *, fhir: bool, code: str | None = None
) -> None:
    """A FHIR route answers with an OperationOutcome, any other with an RFC 9457 problem."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.headers["X-Request-Id"]
    assert response.headers["Cache-Control"] == "no-store"
    if status == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    if status == 405:
        assert response.headers["Allow"]
    if status in (429, 503):
        assert int(response.headers["Retry-After"]) >= 1
    if response.request.method == "HEAD":
        assert response.data == b""
    elif fhir:
        _assert_outcome(response, status, code)
    else:
        _assert_problem(response, status, code)


def _assert_problem(response: TestResponse, status: int, code: str | None) -> None:
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.get_json(force=True)
    assert problem.keys() <= _PROBLEM_MEMBERS
    assert re.fullmatch(r"/docs#problem-[a-z-]+", problem["type"])
    named = problem["type"].removeprefix("/docs#problem-")
    assert KINDS[named].status == problem["status"] == status
    assert problem["title"] == KINDS[named].title
    assert problem["detail"].endswith(".")
    assert problem["instance"] == response.headers["X-Request-Id"]
    assert code in (None, named)


def _assert_outcome(response: TestResponse, status: int, code: str | None) -> None:
    assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    outcome = response.get_json(force=True)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"]
    for issue in outcome["issue"]:
        assert issue.keys() <= _ISSUE_MEMBERS
        assert issue["severity"] == ("fatal" if status == 500 else "error")
        assert issue["diagnostics"].endswith(f"Request {response.headers['X-Request-Id']}.")
        assert code is None or issue["details"]["text"] == KINDS[code].title
        assert code is None or issue["code"] == KINDS[code].issue
