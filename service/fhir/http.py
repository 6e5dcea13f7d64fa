"""The FHIR client: sign-in, repetition, redirects, parsing. Everything above it speaks FHIR."""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import orjson

from service.fhir import outcome
from service.fhir.errors import (
    BadAnswer,
    Cancelled,
    Conflict,
    ConnectionLost,
    FhirError,
    Forbidden,
    Gone,
    Invalid,
    MultipleMatches,
    NotFhir,
    NotFound,
    NotSupported,
    OutcomeInstead,
    Precondition,
    Refused,
    ServerFailed,
    SignInRefused,
    Throttled,
    TimedOut,
    Unprocessable,
    Unreachable,
    VersionMismatch,
)
from service.fhir.origin import origin_of, resolve_link
from service.fhir.retry import RETRY_STATUS, Clock, pause_before
from service.fhir.servers import ServerConfig
from service.fhir.signin import Credentials, credentials_for, smart_configuration
from service.fhir.together import begun
from service.fhir.wire import Connections, RawAnswer, Stream, Wire

Resource = dict[str, Any]

FHIR_JSON = "application/fhir+json"
# HAPI answers a search that it was asked within the last minute as it did then, unless told so.
NOW = "no-cache"
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Real ids now and then hold an underscore or are longer than the standard's 64 characters.
_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    url: str
    """Where it came from in the end: relative links start here."""
    headers: Mapping[str, str]
    resource: Resource | None
    body: bytes = field(default=b"", repr=False)
    """What the resource was parsed from."""


class FhirClient:
    """One job against one server. Safe for several threads."""

    def __init__(
        self,
        server: ServerConfig,
        *,
        cancel: threading.Event | None = None,
        kept: Connections | None = None,
    ) -> None:
        """`kept`: connections of earlier jobs, which outlast this one."""
        self.server = server
        self.clock = Clock(server.limits.budget_seconds, cancel)
        self._origins = server.origins
        self._wire = Wire(server, kept)
        self._statement: Answer | None = None
        self._begun: Future[Answer] | None = None
        self._credentials: Credentials = credentials_for(server, self._wire)

    def __enter__(self) -> "FhirClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sign_in(self) -> tuple[str, ...] | None:
        """Get a token now, where that is how this server is signed in to; the scopes it grants,
        None where nobody says."""
        self._credentials.header(self.clock)
        return self.granted

    @property
    def granted(self) -> tuple[str, ...] | None:
        """The scopes of the last token, where the server said which."""
        return self._credentials.granted

    def smart_configuration(self) -> Mapping[str, Any]:
        """What the server says about signing in to it; empty where it says nothing."""
        try:
            return smart_configuration(self.server, self._wire, self.clock)
        except Cancelled:
            raise
        except FhirError:
            return {}

    @property
    def server_seconds(self) -> float:
        """For how long at least one request was under way."""
        return self._wire.in_flight.seconds

    def close(self) -> None:
        self._wire.close()

    def read(self, kind: str, identity: str) -> Answer:
        """One resource by id."""
        return self._fetch(self.url(kind, identity), f"GET {kind}/{{id}}")

    def search(self, kind: str, params: Iterable[tuple[str, str]]) -> Answer:
        """The first page of a search."""
        pairs = list(params)
        names = "&".join(name for name, _ in pairs)
        return self._fetch(f"{self.url(kind)}?{urlencode(pairs)}", f"GET {kind}?{names}")

    def search_by_post(self, kind: str, params: Iterable[tuple[str, str]]) -> Answer:
        """The same in the body of a POST: nothing of it stands in the URL. Safe to repeat."""
        pairs = list(params)
        what = f"POST {kind}/_search {'&'.join(name for name, _ in pairs)}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url, body = self.url(kind, "_search"), urlencode(pairs).encode()
        raw = self._persist("POST", url, headers, body, what, RETRY_STATUS, safe=True)
        return _content(raw, what)

    def everything(self, identity: str, count: int) -> Answer:
        """The first page of `Patient/{id}/$everything`."""
        url = f"{self.url('Patient', identity)}/$everything?_count={count}"
        return self._fetch(url, "GET Patient/{id}/$everything")

    def operation(
        self, kind: str, identity: str, name: str, params: Iterable[tuple[str, str]] = ()
    ) -> Answer:
        """A GET of `Type/{id}/$name`, which changes nothing."""
        query = urlencode(list(params))
        url = f"{self.url(kind, identity)}/${name}" + (f"?{query}" if query else "")
        return self._fetch(url, f"GET {kind}/{{id}}/${name}")

    def follow(self, link: str, found_at: str, what: str) -> Answer:
        """A link of an answer, byte for byte, if it stays with this server."""
        return self._fetch(resolve_link(link, found_at, self._origins, what), what)

    def begin(self) -> None:
        """Ask for the statement while nobody waits for it yet; whoever does gets that answer."""
        self._begun = begun(self._stated)

    def metadata(self) -> Answer:
        """Asked for once: a client lives for one job."""
        begun, self._begun = self._begun, None
        if self._statement is None:
            self._statement = self._stated() if begun is None else begun.result()
        return self._statement

    def _stated(self) -> Answer:
        return self._fetch(f"{self.server.base_url}/metadata", "GET metadata")

    def write(
        self,
        method: str,
        path: tuple[str, ...],
        resource: Resource | None,
        *,
        condition: Mapping[str, str] | None = None,
        query: str = "",
    ) -> Answer:
        """Create, update, delete or transaction; with a `query`, a conditional update.

        Repeated only when the server certainly did nothing: after a failure to connect, or 429.
        Any other break leaves the outcome unknown, and the caller must look before trying again.
        """
        what = f"{method} {'/'.join((*path[:1], *('{id}' for _ in path[1:]))) or 'transaction'}"
        headers = {"Content-Type": FHIR_JSON, "Prefer": "return=representation"}
        headers |= condition or {}
        body = None if resource is None else orjson.dumps(resource)
        url = f"{self.url(*path)}?{query}" if query else self.url(*path)
        raw = self._persist(method, url, headers, body, what, _CERTAINLY_NOTHING_DONE)
        return _checked(raw, what, headers)

    def once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, what: str
    ) -> RawAnswer:
        """One exchange, whatever its status. Who asks decides what it means, and whether to ask
        again: for protocols around FHIR, such as asynchronous jobs."""
        return self._signed(method, url, headers, body, what)

    @contextmanager
    def stream(
        self, url: str, headers: Mapping[str, str], what: str, *, signed: bool, clock: Clock
    ) -> Iterator[Stream]:
        """One file, piece by piece. Signed only where wished, and never beyond our origins."""
        secret = self._credentials.header(self.clock) if signed else None
        if secret is not None and origin_of(url) in self._origins:
            headers = {**headers, "Authorization": secret}
        with self._wire.stream(url, headers=headers, clock=clock, what=what) as stream:
            if stream.status == 401 and "Authorization" in headers:
                self._credentials.refused(secret)  # the next try gets a new one
            yield stream

    def url(self, *path: str) -> str:
        if not all(_ID.match(part) for part in path):
            raise Invalid("id", next_step="A FHIR id holds letters, digits, '-' and '.'.")
        return "/".join((self.server.base_url, *path))

    def _fetch(self, url: str, what: str) -> Answer:
        return _content(self.get(url, {}, what), what)

    def get(self, url: str, headers: Mapping[str, str], what: str) -> RawAnswer:
        """What stands there in the end, whatever its status: asked again where that is promising,
        and never away from our origins. For protocols around FHIR, such as DICOMweb."""
        for _ in range(MAX_REDIRECTS + 1):
            raw = self._persist("GET", url, headers, None, what, RETRY_STATUS)
            if raw.status not in _REDIRECTS:
                return raw
            url = resolve_link(raw.headers.get("Location", ""), raw.url, self._origins, what)
        raise BadAnswer(what, next_step="It redirects without end.")

    def _persist(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        what: str,
        repeat_on: frozenset[int],
        *,
        safe: bool = False,
    ) -> RawAnswer:
        """Send, and send again where that is safe and promising."""
        safe = safe or method == "GET"
        limits = self.server.limits
        for attempt in range(1, limits.tries + 1):
            last = attempt == limits.tries
            asked = None
            try:
                raw = self._signed(method, url, headers, body, what)
            except Unreachable:
                if last:
                    raise
            except (TimedOut, ConnectionLost):
                if last or not safe:
                    raise
            else:
                if raw.status not in repeat_on or last:
                    return raw
                asked = raw.headers.get("Retry-After")
            self.clock.wait(pause_before(attempt, asked, limits), what)
        raise AssertionError("limits.tries is at least 1")

    def _signed(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, what: str
    ) -> RawAnswer:
        """One exchange; a second one when a 401 may be cured by a new token."""
        if origin_of(url) not in self._origins:  # whatever led here, nothing leaves our server
            raise AssertionError("a request was about to leave the configured origin")
        secret = self._credentials.header(self.clock)
        raw = self._send(method, url, headers, body, what, secret)
        if raw.status == 401 and self._credentials.refused(secret):
            secret = self._credentials.header(self.clock)
            raw = self._send(method, url, headers, body, what, secret)
        return raw

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        what: str,
        secret: str | None,
    ) -> RawAnswer:
        signed = {"Accept": FHIR_JSON, "Cache-Control": NOW, **headers}
        if secret is not None:
            signed["Authorization"] = secret
        return self._wire.send(method, url, headers=signed, body=body, clock=self.clock, what=what)


_CERTAINLY_NOTHING_DONE = frozenset({429})


def _content(raw: RawAnswer, what: str) -> Answer:
    """An answer that must hold a resource."""
    answer = _checked(raw, what, {})
    if answer.resource is None:
        raise NotFhir(what, status=raw.status)
    if outcome.is_outcome(answer.resource) and outcome.is_error(answer.resource):
        codes = outcome.issue_codes(answer.resource)
        raise OutcomeInstead(what, status=raw.status, issues=codes)
    return answer


def _checked(raw: RawAnswer, what: str, sent: Mapping[str, str]) -> Answer:
    resource = _parsed(raw.body)
    if not 200 <= raw.status < 300:
        raise refusal(what, raw.status, resource, sent)
    if resource is None and raw.body.strip() and "html" not in _content_type(raw):
        raise NotFhir(what, status=raw.status)
    return Answer(raw.status, raw.url, raw.headers, resource, raw.body)


def _content_type(raw: RawAnswer) -> str:
    return raw.headers.get("Content-Type", "").lower()


def _parsed(body: bytes) -> Resource | None:
    """The resource in a body, whatever its content type claims; None when there is none."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(found, dict) and isinstance(found.get("resourceType"), str):
        return found
    return None


def resource_of(raw: RawAnswer) -> Resource | None:
    """The resource in an answer of any status; None when there is none."""
    return _parsed(raw.body)


_BY_STATUS: Mapping[int, type[Refused]] = {
    400: Invalid,
    401: SignInRefused,
    403: Forbidden,
    404: NotFound,
    405: NotSupported,
    406: NotSupported,
    408: ServerFailed,
    409: Conflict,
    410: Gone,
    415: NotSupported,
    422: Unprocessable,
    429: Throttled,
    501: NotSupported,
}


def refusal(what: str, status: int, resource: Resource | None, sent: Mapping[str, str]) -> Refused:
    """The error for a status, its outcome's codes, and the condition that was sent."""
    codes = outcome.issue_codes(resource)
    if status == 412:
        return _precondition(codes, sent)(what, status=status, issues=codes)
    if status in (400, 404, 422) and "not-supported" in codes:
        return NotSupported(what, status=status, issues=codes)
    fallback = ServerFailed if status >= 500 else Refused
    return _BY_STATUS.get(status, fallback)(what, status=status, issues=codes)


def _precondition(codes: tuple[str, ...], sent: Mapping[str, str]) -> type[Precondition]:
    """412 has two meanings: several matches of a condition, or the wrong version."""
    if "multiple-matches" in codes or "If-None-Exist" in sent:
        return MultipleMatches
    if "If-Match" in sent or "If-None-Match" in sent or "conflict" in codes:
        return VersionMismatch
    return Precondition
