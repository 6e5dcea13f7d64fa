"""How we prove who we are to a server: nothing, a password, a token, or a signed assertion."""

import base64
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urljoin

import orjson
from joserfc import jwt

from service.config.sections import ServerAuth
from service.fhir.client_keys import Key, algorithm_of, key_id, load_key
from service.fhir.errors import (
    ConnectionLost,
    FhirError,
    NotFhir,
    SignInRefused,
    TimedOut,
    Unreachable,
)
from service.fhir.origin import origin_of, require_public
from service.fhir.retry import RETRY_STATUS, Clock, pause_before
from service.fhir.scopes import as_v1
from service.fhir.servers import ServerConfig
from service.fhir.wire import RawAnswer, Wire

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 300  # SMART Backend Services: no more than five minutes
RENEW_BEFORE_SECONDS = 30
LIFE_WHEN_UNSTATED_SECONDS = 300


class Credentials(Protocol):
    @property
    def granted(self) -> tuple[str, ...] | None:
        """The scopes that were granted, where anybody said so."""
        ...

    def header(self, clock: Clock) -> str | None:
        """The Authorization header to send now."""
        ...

    def refused(self, header: str | None) -> bool:
        """The server answered 401 to `header`. True: another try with a new one makes sense."""
        ...


class Fixed:
    """A header that never changes."""

    granted = None

    def __init__(self, value: str | None) -> None:
        self._value = value

    def header(self, clock: Clock) -> str | None:
        return self._value

    def refused(self, header: str | None) -> bool:
        return False


@dataclass(slots=True)
class _Session:
    """What is known of signing in as one client with one key. All runs of a process share it: they
    ask for one token, and what had to be found out is found out once."""

    scopes: list[str]
    endpoint: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    header: str | None = field(default=None, repr=False)
    renew_at: float = 0.0
    granted: tuple[str, ...] | None = None

    @property
    def worked_before(self) -> bool:
        return self.renew_at > 0


_SESSIONS: dict[tuple[str, ...], _Session] = {}


class SmartBackend:
    """SMART Backend Services: client credentials with `private_key_jwt`, one flight at a time."""

    def __init__(self, server: ServerConfig, wire: Wire) -> None:
        self._server, self._auth, self._wire = server, server.auth, wire
        auth, self._key = server.auth, load_key(server.auth.key_file)
        who = (server.base_url, auth.token_url, auth.client_id, self._key.thumbprint())
        fresh = _Session(list(auth.scopes), auth.token_url)
        self._session = _SESSIONS.setdefault((*who, *auth.scopes), fresh)

    @property
    def granted(self) -> tuple[str, ...] | None:
        return self._session.granted

    def header(self, clock: Clock) -> str | None:
        session = self._session
        with session.lock:
            if session.header is None or time.monotonic() >= session.renew_at:
                self._fetch(clock)
            return session.header

    def refused(self, header: str | None) -> bool:
        with self._session.lock:
            if self._session.header == header:  # else another thread has renewed it already
                self._session.header = None
        return True

    def _fetch(self, clock: Clock) -> None:
        session = self._session
        answer = self._ask(clock)
        if answer.status == 400 and session.worked_before:
            # Epic now and then answers a bare 400 to a repeated request; once more is enough.
            answer = self._ask(clock)
        if _is_invalid_scope(answer) and session.scopes != (older := as_v1(session.scopes)):
            session.scopes = older  # a server that knows the scopes of SMART 1 only
            answer = self._ask(clock)
        token = _token(answer)
        stated = token.get("scope")
        session.granted = tuple(stated.split()) if isinstance(stated, str) else None
        life = token.get("expires_in")
        seconds = float(life) if isinstance(life, int | float) else LIFE_WHEN_UNSTATED_SECONDS
        session.renew_at = time.monotonic() + max(1.0, seconds - RENEW_BEFORE_SECONDS)
        session.header = f"Bearer {token['access_token']}"

    def _ask(self, clock: Clock) -> RawAnswer:
        """Each try with an assertion of its own: one that was seen is not taken again."""
        limits = self._server.limits
        for attempt in range(1, limits.tries + 1):
            last = attempt == limits.tries
            asked = None
            try:
                answer = self._post(clock)
            except (Unreachable, TimedOut, ConnectionLost):
                if last:
                    raise
            else:
                if answer.status not in RETRY_STATUS or last:
                    return answer
                asked = answer.headers.get("Retry-After")
            clock.wait(pause_before(attempt, asked, limits), _TOKEN)
        raise AssertionError("limits.tries is at least 1")

    def _post(self, clock: Clock) -> RawAnswer:
        endpoint = self._session.endpoint or self._discover(clock)  # which may change the scopes
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(self._session.scopes),
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion(self._auth, self._key, endpoint),
        }
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        body = urlencode(form).encode()
        return self._wire.send(
            "POST", endpoint, headers=headers, body=body, clock=clock, what=_TOKEN
        )

    def _discover(self, clock: Clock) -> str:
        found = smart_configuration(self._server, self._wire, clock)
        endpoint = found.get("token_endpoint")
        if not isinstance(endpoint, str):
            raise NotFhir(_CONFIGURATION, next_step="Set `auth.token_url`.")
        if _knows_version_1_only(found):
            self._session.scopes = as_v1(self._session.scopes)
        place = urljoin(f"{self._server.base_url}/", endpoint)
        if origin_of(place) not in self._server.origins:
            require_public(place, _TOKEN)
        self._session.endpoint = place
        return place


_TOKEN = "POST {token endpoint}"  # noqa: S105 - what is asked, no secret
_CONFIGURATION = "GET .well-known/smart-configuration"


def smart_configuration(server: ServerConfig, wire: Wire, clock: Clock) -> dict[str, Any]:
    url = f"{server.base_url}/.well-known/smart-configuration"
    accept = {"Accept": "application/json"}
    answer = wire.send("GET", url, headers=accept, clock=clock, what=_CONFIGURATION)
    found = _json(answer, _CONFIGURATION)
    if answer.status != 200:
        raise NotFhir(_CONFIGURATION, status=answer.status, next_step="Set `auth.token_url`.")
    return found


def _knows_version_1_only(configuration: Mapping[str, Any]) -> bool:
    """Said outright; a server that lists neither is asked in version 2 first."""
    listed = configuration.get("capabilities")
    able = set(filter(lambda c: isinstance(c, str), listed)) if isinstance(listed, list) else set()
    return "permission-v1" in able and "permission-v2" not in able


def credentials_for(server: ServerConfig, wire: Wire) -> Credentials:
    auth = server.auth
    if auth.kind == "basic":
        return Fixed(basic(auth.username, auth.password))
    if auth.kind == "bearer":
        return Fixed(f"Bearer {auth.token}")
    if auth.kind == "smart-backend":
        return SmartBackend(server, wire)
    return Fixed(None)


def basic(name: str, secret: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"


def assertion(auth: ServerAuth, key: Key, endpoint: str) -> str:
    """A fresh signed assertion: one per request, as servers refuse a `jti` they have seen."""
    algorithm = algorithm_of(key)
    now = int(time.time())
    return jwt.encode(
        {"alg": algorithm, "kid": key_id(key), "typ": "JWT"},
        {
            "iss": auth.client_id,
            "sub": auth.client_id,
            "aud": endpoint,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": str(uuid.uuid4()),
        },
        key,
        algorithms=[algorithm],
    )


def _token(answer: RawAnswer) -> dict[str, Any]:
    what = _TOKEN
    if answer.status >= 500:
        raise NotFhir(what, status=answer.status, next_step="The token endpoint failed; try later.")
    found = _json(answer, what)
    token, kind = found.get("access_token"), found.get("token_type")
    if answer.status != 200:
        raise SignInRefused(what, status=answer.status)
    if not isinstance(token, str) or not isinstance(kind, str) or kind.lower() != "bearer":
        raise SignInRefused(what, status=answer.status)
    return found


def _is_invalid_scope(answer: RawAnswer) -> bool:
    """RFC 6749, section 5.2"""
    try:
        found = orjson.loads(answer.body) if answer.status == 400 else None
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.get("error") == "invalid_scope"


def _json(answer: RawAnswer, what: str) -> dict[str, Any]:
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        return found
    failure: FhirError = NotFhir(what, status=answer.status)
    if answer.status in (400, 401, 403):
        failure = SignInRefused(what, status=answer.status)
    raise failure
