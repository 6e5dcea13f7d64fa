"""The sandbox FHIR server: an application factory, an in-memory store and nothing else."""

import email.utils
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from service.addresses import LateRule
from service.sandbox.answers import FHIR_JSON, as_answer, base_url, here
from service.sandbox.capability import capability_statement
from service.sandbox.dicomweb import ENDPOINTS as DICOMWEB
from service.sandbox.dicomweb import add_dicomweb, address
from service.sandbox.errors import FhirError, outcome
from service.sandbox.export import ENDPOINTS, OPEN, Exports, add_routes
from service.sandbox.paging import OpenSearch, Pages
from service.sandbox.persona import Persona, Settings
from service.sandbox.population import PatientBundle
from service.sandbox.search import Query, everything, included, known_types, parse_query, run_query
from service.sandbox.store import Clock, Resource, Store, groups, instant, utc_now
from service.sandbox.subscriptions import Subscriptions, add_subscriptions
from service.sandbox.writes import Writer, Written, check_id, etag, known, same_version

ACCEPTED = {FHIR_JSON, "application/json", "application/*", "*/*", "application/json+fhir"}
FORMATS = {"json", FHIR_JSON, "application/json", "application/fhir json"}
SOFTWARE_VERSION = "1"


@dataclass(frozen=True)
class LoggedRequest:
    """What a client did, for assertions: names only, no value of any kind."""

    method: str
    route: str
    kind: str
    parameters: tuple[str, ...]
    status: int


@dataclass
class Sandbox:
    """What one running sandbox holds; reached from an app as `sandbox_of(app)`."""

    store: Store
    settings: Settings
    persona: Persona
    pages: Pages
    exports: Exports
    prefix: str
    started: datetime
    subscriptions: Subscriptions
    requests: deque[LoggedRequest] = field(default_factory=lambda: deque(maxlen=10_000))

    def writer(self) -> Writer:
        return Writer(self.store, self.settings, self.persona, base_url())


def create_sandbox(
    population: Iterable[PatientBundle] = (),
    persona: Persona | None = None,
    settings: Settings | None = None,
    *,
    prefix: str | None = None,
    clock: Clock = utc_now,
) -> Flask:
    """A Flask app that serves this population under `prefix`, by default the persona's."""
    persona = persona or Persona()
    prefix = persona.prefix if prefix is None else prefix
    settings = persona.settings(settings or Settings())
    store = Store(clock, persona.version)
    for patient in population:
        store.load(patient.resources)
    store.load(groups(store))
    app = Flask("twinport.sandbox", static_folder=None)
    app.url_rule_class = LateRule
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    pages = Pages(
        settings.page_lifetime_seconds, settings.max_open_searches, expired=persona.expired
    )
    exports = Exports(persona.exports)
    app.extensions["sandbox"] = Sandbox(
        store, settings, persona, pages, exports, prefix, clock(), Subscriptions(store)
    )
    _add_routes(app, prefix)
    add_subscriptions(app, prefix)
    add_routes(app, prefix)
    add_dicomweb(app)
    _add_hooks(app)
    return app


def sandbox_of(app: Flask) -> Sandbox:
    found: Sandbox = app.extensions["sandbox"]
    return found


# -- routes --------------------------------------------------------------------------------------


def _add_routes(app: Flask, prefix: str) -> None:
    routes = (
        ("/metadata", "metadata", metadata, ["GET"]),
        ("", "page", next_page, ["GET"]),
        ("", "bundle", bundle, ["POST"]),
        ("/<kind>", "search", search, ["GET"]),
        ("/<kind>", "create", create, ["POST"]),
        ("/<kind>", "conditional-update", conditional_update, ["PUT"]),
        ("/<kind>/_search", "post-search", post_search, ["POST"]),
        ("/<kind>/<identity>", "read", read, ["GET"]),
        ("/<kind>/<identity>", "update", update, ["PUT"]),
        ("/<kind>/<identity>/_history/<version>", "vread", vread, ["GET"]),
        ("/Patient/<identity>/$everything", "everything", patient_everything, ["GET"]),
    )
    for path, name, view, methods in routes:
        app.add_url_rule(prefix + path or "/", name, view, methods=methods, strict_slashes=False)


def metadata() -> Response:
    sandbox = here()
    statement = capability_statement(
        base_url(),
        sandbox.settings,
        sandbox.exports.manners,
        instant(sandbox.started),
        SOFTWARE_VERSION,
    )
    if sandbox.subscriptions.manners.dialects:
        statement["rest"][0]["resource"].append(sandbox.subscriptions.statement())
    return as_answer(sandbox.persona.capability(statement))


def read(kind: str, identity: str) -> Response:
    here().persona.allow(known(kind), "r")
    resource = here().store.read(kind, check_id(identity))
    if resource is None:
        raise FhirError(404, "not-found", f"no such {kind}")
    seen = request.headers.get("If-None-Match")
    if seen and same_version(seen, resource):
        return _with_version(Response(status=304), resource)
    return _with_version(as_answer(address(resource)), resource)


def vread(kind: str, identity: str, version: str) -> Response:
    here().persona.allow(known(kind), "r")
    resource = here().store.version(kind, check_id(identity), version)
    if resource is None:
        raise FhirError(404, "not-found", f"no such version of this {kind}")
    return _with_version(as_answer(resource), resource)


def create(kind: str) -> Response:
    condition = request.headers.get("If-None-Exist")
    return _written(here().writer().create(kind, _body(), condition))


def update(kind: str, identity: str) -> Response:
    match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    return _written(here().writer().update(kind, identity, _body(), match, none_match))


def conditional_update(kind: str) -> Response:
    query = request.query_string.decode("ascii", "replace")
    if not query:
        raise FhirError(400, "required", "PUT needs an id or a condition in the URL")
    writer = here().writer()
    return _written(
        writer.conditional_update(kind, query, _body(), request.headers.get("If-Match"))
    )


def bundle() -> Response:
    return as_answer(here().writer().bundle(_body()))


def search(kind: str) -> Response:
    pairs = _query_pairs()
    return _continued(pairs) or _search(kind, pairs)


def post_search(kind: str) -> Response:
    if request.mimetype != "application/x-www-form-urlencoded":
        raise FhirError(415, "not-supported", "_search takes application/x-www-form-urlencoded")
    form = parse_qsl(request.get_data(as_text=True), keep_blank_values=True)
    g.names = {name for name, _ in [*_query_pairs(), *form]}
    return _search(kind, here().persona.posted(_query_pairs(), form))


def patient_everything(identity: str) -> Response:
    sandbox = here()
    if not sandbox.settings.everything:
        raise FhirError(404, "not-supported", "$everything is not supported")
    if sandbox.store.read("Patient", check_id(identity)) is None:
        raise FhirError(404, "not-found", "no such Patient")
    pairs = _query_pairs()
    continued = _continued(pairs)
    if continued is not None:
        return continued
    query = Query("Patient", count=sandbox.settings.max_count)
    for name, value in pairs:
        if name != "_count" or not value.isdecimal() or int(value) < 1:
            raise FhirError(400, "not-supported", "$everything takes only _count here")
        query.count = min(int(value), sandbox.settings.max_count)
    found = everything(sandbox.store, identity)
    return _page(OpenSearch(query, found, 0, len(found), 0.0), request.url)


def next_page() -> Response:
    continued = _continued(_query_pairs())
    if continued is None:
        raise FhirError(400, "not-supported", "searching across types is not supported")
    return continued


def _continued(pairs: list[tuple[str, str]]) -> Response | None:
    """The next page of an open search, where the URL carries this persona's page parameter."""
    persona = here().persona
    for name, value in pairs:
        if name == persona.page_parameter:
            return _page(here().pages.resume(persona.token(value)), request.url)
    return None


# -- searching -----------------------------------------------------------------------------------


def _query_pairs() -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.args.items(multi=True)]


def _search(kind: str, pairs: list[tuple[str, str]]) -> Response:
    sandbox = here()
    settings = sandbox.settings
    sandbox.persona.allow(known(kind), "s")
    pairs = sandbox.persona.asked(kind, pairs)
    strict = settings.strict_search or "handling=strict" in request.headers.get("Prefer", "")
    query = parse_query(
        kind,
        pairs,
        default_count=settings.default_count,
        max_count=settings.max_count,
        strict=strict,
    )
    query = sandbox.persona.search(query)
    found = _visible(run_query(sandbox.store, query, base_url()), query)
    self_link = f"{base_url()}/{kind}?{urlencode(query.understood())}"
    return _page(OpenSearch(query, found, 0, len(found), 0.0), self_link)


def _visible(found: list[Resource], query: Query) -> list[Resource]:
    """Without what was written so recently that this server's index does not have it yet."""
    sandbox = here()
    lag = sandbox.settings.search_lag_seconds
    if not lag or not sandbox.persona.lags(query):
        return found
    indexed = instant(sandbox.store.now() - timedelta(seconds=lag))
    loaded = instant(sandbox.started)
    newest = max(indexed, loaded)
    return [r for r in found if r["meta"]["lastUpdated"] <= newest]


def _page(page: OpenSearch, self_link: str) -> Response:
    sandbox = here()
    query = page.query
    end = page.offset + query.count
    answer: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": page.total,
        "link": [{"relation": "self", "url": self_link}],
    }
    if not query.summary_count:
        if end < page.total:
            token = sandbox.pages.remember(query, page.found, end)
            link = sandbox.persona.next_link(base_url(), query, token)
            answer["link"].append({"relation": "next", "url": link})
        if entries := _entries(page, end):
            answer["entry"] = entries
    return as_answer(sandbox.persona.page(answer, query))


def _entries(page: OpenSearch, end: int) -> list[dict[str, Any]]:
    matched = page.found[page.offset : end]
    entries = [_entry(resource, "match") for resource in matched]
    entries += [_entry(r, "include") for r in included(here().store, page.query, matched)]
    if page.query.ignored and page.offset == 0:
        text = f"{len(page.query.ignored)} unknown parameter(s) ignored; see the self link"
        note = outcome("not-supported", text, "warning")
        entries.append({"resource": note, "search": {"mode": "outcome"}})
    return entries


def _entry(resource: Resource, mode: str) -> dict[str, Any]:
    url = f"{base_url()}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": url, "resource": address(resource), "search": {"mode": mode}}


# -- bodies and answers --------------------------------------------------------------------------


def _body() -> Any:
    if request.mimetype not in (FHIR_JSON, "application/json"):
        raise FhirError(415, "not-supported", f"send {FHIR_JSON}")
    try:
        # Decimal keeps the digits that were sent: 1.00 is not 1.
        return json.loads(request.get_data(), parse_float=Decimal)
    except (ValueError, RecursionError):
        raise FhirError(400, "structure", "the body is not JSON") from None


def _with_version(response: Response, resource: Resource) -> Response:
    updated = datetime.fromisoformat(resource["meta"]["lastUpdated"]).astimezone(UTC)
    response.headers["ETag"] = etag(resource)
    response.headers["Last-Modified"] = email.utils.format_datetime(updated, usegmt=True)
    return response


def _written(written: Written) -> Response:
    resource = written.resource
    prefer = request.headers.get("Prefer", "")
    if "return=minimal" in prefer:
        response = Response(status=written.status)
    elif "return=OperationOutcome" in prefer:
        response = as_answer(outcome("informational", "stored", "information"), written.status)
    else:
        response = as_answer(resource, written.status)
    version = resource["meta"]["versionId"]
    location = f"{base_url()}/{resource['resourceType']}/{resource['id']}/_history/{version}"
    response.headers["Location"] = location
    return _with_version(response, resource)


# -- before, after and errors --------------------------------------------------------------------


def _add_hooks(app: Flask) -> None:
    app.before_request(_check_token)
    app.before_request(_check_accept)
    app.before_request(_intercept)
    app.after_request(_finish)
    app.register_error_handler(FhirError, _fhir_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)


def _check_token() -> None:
    token = here().settings.bearer_token
    if token is None or request.endpoint in {"metadata", *OPEN}:
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and compare_digest(given.encode(), token.encode()):
        return
    challenge = 'Bearer realm="sandbox"' + (', error="invalid_token"' if given else "")
    raise FhirError(
        401, "login", "a valid bearer token is needed", headers={"WWW-Authenticate": challenge}
    )


def _intercept() -> Response | None:
    return here().persona.intercept(request)


def _check_accept() -> None:
    if request.endpoint in ENDPOINTS | DICOMWEB:
        return  # JSON that is no resource, and lines of resources
    asked = request.args.get("_format")
    if asked is not None:
        if asked.split(";")[0].strip() not in FORMATS:
            raise FhirError(406, "not-supported", "only JSON is served")
        return
    offered = [part.split(";")[0].strip() for part in request.headers.get("Accept", "").split(",")]
    if any(offered) and not ACCEPTED & set(offered):
        raise FhirError(406, "not-supported", "only JSON is served")


def _finish(response: Response) -> Response:
    sandbox = here()
    response.headers["Cache-Control"] = "no-store"
    kind = (request.view_args or {}).get("kind", "")
    sandbox.requests.append(
        LoggedRequest(
            request.method,
            request.endpoint or "",
            kind if kind in known_types() else "",
            tuple(sorted(g.get("names") or set(request.args))),
            response.status_code,
        )
    )
    return sandbox.persona.respond(response)


def _fhir_error(error: FhirError) -> Response:
    response = as_answer(here().persona.error(error), error.status)
    response.headers.update(error.headers)
    return response


_HTTP_CODES = {
    404: "not-found",
    405: "not-supported",
    413: "too-long",
    414: "too-long",
    429: "throttled",
}


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    response = as_answer(outcome(_HTTP_CODES.get(status, "processing"), error.name), status)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _bug(error: Exception) -> Response:
    """A defect of the sandbox itself: only its type is told, the message might hold a value."""
    current_app.logger.error("sandbox: %s on %s", type(error).__name__, request.endpoint)
    return as_answer(outcome("exception", f"internal error: {type(error).__name__}", "fatal"), 500)
