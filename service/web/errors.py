"""Every error that leaves over HTTP: one table of kinds (problems.csv), one exception, two shapes.

    WebError("code")          raised anywhere in the web
    ServiceError(Failure.X)   raised by the service behind it; its code is in the same table
    HTTPException             raised by Flask itself; mapped by status
    anything else             "internal": logged by type and place, never by message

A FHIR route answers with an OperationOutcome, every other route with an RFC 9457 problem; a person
whose browser asked for a page outside both gets the same content as a page. None of them
ever repeats a value of the request: what was wrong is named by its path.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import NamedTuple

import orjson
from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from service.web.logs import place_of, web_log
from service.web.ports import Failure, ServiceError

PROBLEM = "application/problem+json"
FHIR_JSON = "application/fhir+json; charset=utf-8"
# What a misspelt member looks like, and a place in a list. Anything else could be a value that
# slipped into the place of a name: an id, a date, a name with its spaces.
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}|[0-9]{1,3}")


class Kind(NamedTuple):
    """One kind of error: HTTP status, FHIR issue code, title, and the next step for a person."""

    status: int
    issue: str
    title: str
    next_step: str


def _read_kinds() -> dict[str, Kind]:
    text = files(__package__).joinpath("problems.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), strict=True)
    return {r["code"]: Kind(int(r["status"]), r["issue"], r["title"], r["next_step"]) for r in rows}


KINDS: Mapping[str, Kind] = _read_kinds()

_BY_STATUS = {
    400: "malformed",
    401: "sign-in-needed",
    403: "forbidden",
    404: "unknown-route",
    405: "method-not-allowed",
    406: "not-acceptable",
    413: "body-too-large",
    414: "address-too-long",
    415: "unsupported-media-type",
    429: "throttled",
    503: Failure.BUSY,
}


class Fault(NamedTuple):
    """One thing wrong in a request: where (a path, or a FHIRPath expression) and what."""

    where: str
    what: str


class WebError(Exception):
    """An answer that is an error. `code` is a key of `KINDS`."""

    def __init__(
        self,
        code: str,
        *,
        next_step: str = "",
        faults: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
        run_id: str | None = None,
    ) -> None:
        self.code = str(code)
        self.kind = KINDS[code]
        self.next_step = next_step or self.kind.next_step
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.run_id = run_id
        super().__init__(self.code)


def register_errors(app: Flask) -> None:
    """One handler each; on the app, because a blueprint never sees unrouted 404 and 405."""
    app.register_error_handler(WebError, error_response)
    app.register_error_handler(ServiceError, _service_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def error_response(error: WebError) -> Response:
    """The answer for this error, in the shape of the audience."""
    g.error_code = error.code
    content, media_type = _shaped(error)
    response = Response(content, status=error.kind.status, content_type=media_type)
    response.headers.update(error.headers)
    if error.kind.status == 401:
        response.headers.setdefault("WWW-Authenticate", 'Bearer realm="twinport"')
    if error.kind.status in {429, 503}:
        response.headers.setdefault("Retry-After", "5")
    return response


def _shaped(error: WebError) -> tuple[bytes | str, str]:
    if is_fhir():
        return orjson.dumps(_outcome(error)), FHIR_JSON
    if _wants_page():
        return _page(error), "text/html; charset=utf-8"
    return orjson.dumps(_problem(error)), PROBLEM


def _wants_page() -> bool:
    """A browser asks for HTML by name; a program that accepts anything gets the problem."""
    if request.path.startswith("/api/"):
        return False
    offered = [PROBLEM, "application/json", "text/html"]
    return request.accept_mimetypes.best_match(offered) == "text/html"


def _page(error: WebError) -> str:
    """Without the context processors: a page about a failure must not need the database."""
    template = current_app.jinja_env.get_template("error.html")
    return template.render(
        kind=error.kind,
        next_step=error.next_step,
        faults=error.faults,
        run_id=error.run_id,
        request_id=g.request_id,
    )


def is_fhir() -> bool:
    return request.path == "/fhir" or request.path.startswith("/fhir/")


def as_web_error(error: ServiceError) -> WebError:
    """The same failure as the web tells it."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return WebError(error.failure, next_step=error.next_step, headers=headers, run_id=error.run_id)


def safe_path(parts: Iterable[object]) -> str:
    """A path for people, told to nobody but the caller; what is not a plain word is not shown."""
    shown = (str(part) for part in parts)
    return "".join(f"/{part if _PLAIN_NAME.fullmatch(part) else '?'}" for part in shown)


# -- handlers ----------------------------------------------------------------------------------


def _service_error(error: ServiceError) -> Response:
    return error_response(as_web_error(error))


def _http_error(error: HTTPException) -> Response:
    code = _BY_STATUS.get(error.code or 500)
    if code is None:
        return _unexpected(error)
    if code == "unknown-route" and is_fhir():
        code = "unknown-type"
    return error_response(WebError(code, headers=_allow(error)))


def _allow(error: HTTPException) -> dict[str, str]:
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        return {"Allow": ", ".join(sorted(error.valid_methods))}
    return {}


def _unexpected(error: Exception) -> Response:
    web_log().error("unexpected", **place_of(error))
    return error_response(WebError("internal"))


# -- shapes ------------------------------------------------------------------------------------


def _problem(error: WebError) -> dict[str, object]:
    body: dict[str, object] = {
        "type": f"/docs#problem-{error.code}",
        "title": error.kind.title,
        "status": error.kind.status,
        "detail": error.next_step,
        "instance": g.request_id,
    }
    if error.faults:
        body["errors"] = [{"pointer": fault.where, "detail": fault.what} for fault in error.faults]
    if error.run_id:
        body["run"] = error.run_id
    return body


def _outcome(error: WebError) -> dict[str, object]:
    faults = error.faults or (Fault("", ""),)
    return {"resourceType": "OperationOutcome", "issue": [_issue(error, f) for f in faults]}


def _issue(error: WebError, fault: Fault) -> dict[str, object]:
    run = f" Run {error.run_id}." if error.run_id else ""
    what = f"{fault.what} " if fault.what else ""
    issue: dict[str, object] = {
        "severity": "fatal" if error.kind.status == 500 else "error",
        "code": error.kind.issue,
        "details": {"text": error.kind.title},
        "diagnostics": f"{what}{error.next_step}{run} Request {g.request_id}.",
    }
    if fault.where:
        issue["expression"] = [fault.where]
    return issue
