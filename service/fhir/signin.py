"""How we prove who we are to a server: nothing, a password, a token, or a signed assertion."""

import base64
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode, urljoin

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from service.config.sections import ServerAuth
from service.fhir.errors import FhirError, NotFhir, SetupError, SignInRefused
from service.fhir.origin import origin_of, require_public
from service.fhir.retry import Clock
from service.fhir.scopes import as_v1
from service.fhir.servers import ServerConfig
from service.fhir.wire import RawAnswer, Wire

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 300  # SMART Backend Services: no more than five minutes
RENEW_BEFORE_SECONDS = 30
LIFE_WHEN_UNSTATED_SECONDS = 300


class Credentials(Protocol):
    def header(self, clock: Clock) -> str | None:
        """The Authorization header to send now."""
        ...

    def refused(self, header: str | None) -> bool:
        """The server answered 401 to `header`. True: another try with a new one makes sense."""
        ...


class Fixed:
    """A header that never changes."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def header(self, clock: Clock) -> str | None:
        return self._value

    def refused(self, header: str | None) -> bool:
        return False


class SmartBackend:
    """SMART Backend Services: client credentials with `private_key_jwt`, one flight at a time."""

    def __init__(self, server: ServerConfig, wire: Wire) -> None:
        self._server, self._auth, self._wire = server, server.auth, wire
        self._key = load_key(self._auth.key_file)
        self._lock = threading.Lock()
        self._header: str | None = None
        self._renew_at = 0.0
        self._endpoint = self._auth.token_url
        self._scopes = list(self._auth.scopes)
        self.granted: tuple[str, ...] | None = None
        """The scopes of the last token, where the server said which."""

    def header(self, clock: Clock) -> str | None:
        with self._lock:
            if self._header is None or time.monotonic() >= self._renew_at:
                self._fetch(clock)
            return self._header

    def refused(self, header: str | None) -> bool:
        with self._lock:
            if self._header == header:  # else another thread has renewed it already
                self._header = None
        return True

    def _fetch(self, clock: Clock) -> None:
        had_one = self._renew_at > 0
        answer = self._ask(clock)
        if answer.status == 400 and had_one:
            # Epic now and then answers a bare 400 to a repeated request; once more is enough.
            answer = self._ask(clock)
        if _is_invalid_scope(answer) and self._scopes != (older := as_v1(self._scopes)):
            self._scopes = older  # a server that knows the scopes of SMART 1 only
            answer = self._ask(clock)
        token = _token(answer)
        stated = token.get("scope")
        self.granted = tuple(stated.split()) if isinstance(stated, str) else None
        life = token.get("expires_in")
        seconds = float(life) if isinstance(life, int | float) else LIFE_WHEN_UNSTATED_SECONDS
        self._renew_at = time.monotonic() + max(1.0, seconds - RENEW_BEFORE_SECONDS)
        self._header = f"Bearer {token['access_token']}"

    def _ask(self, clock: Clock) -> RawAnswer:
        endpoint = self._endpoint or self._discover(clock)
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(self._scopes),
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion(self._auth, self._key, endpoint),
        }
        return self._wire.send(
            "POST",
            endpoint,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            body=urlencode(form).encode(),
            clock=clock,
            what="POST {token endpoint}",
        )

    def _discover(self, clock: Clock) -> str:
        what = "GET .well-known/smart-configuration"
        base = self._server.base_url
        answer = self._wire.send(
            "GET",
            f"{base}/.well-known/smart-configuration",
            headers={"Accept": "application/json"},
            clock=clock,
            what=what,
        )
        found = _json(answer, what).get("token_endpoint")
        if answer.status != 200 or not isinstance(found, str):
            raise NotFhir(what, status=answer.status, next_step="Set `auth.token_url`.")
        self._endpoint = urljoin(f"{base}/", found)
        if origin_of(self._endpoint) not in self._server.origins:
            require_public(self._endpoint, "POST {token endpoint}")
        return self._endpoint


def credentials_for(server: ServerConfig, wire: Wire) -> Credentials:
    auth = server.auth
    if auth.kind == "basic":
        pair = f"{auth.username}:{auth.password}".encode()
        return Fixed(f"Basic {base64.b64encode(pair).decode()}")
    if auth.kind == "bearer":
        return Fixed(f"Bearer {auth.token}")
    if auth.kind == "smart-backend":
        return SmartBackend(server, wire)
    return Fixed(None)


def load_key(path: str) -> RSAKey | ECKey:
    """The private key, from a JWK or PEM file."""
    step = "`auth.key_file` must hold a private RSA or P-384 key, as JWK or PEM."
    try:
        content = Path(path).read_bytes()
        kind = _key_kind(content)
        material: Any = orjson.loads(content) if content.lstrip().startswith(b"{") else content
        key = kind.import_key(material)
        private = key.is_private
    except (OSError, ValueError, JoseError):
        raise SetupError("auth.key_file", next_step=step) from None
    if not private or (isinstance(key, ECKey) and key.curve_name != "P-384"):
        raise SetupError("auth.key_file", next_step=step)
    return key


def public_jwk(path: str) -> dict[str, Any]:
    """The public half of a key file, as it is registered with a server."""
    key = load_key(path)
    public = key.as_dict(private=False)
    algorithm = "ES384" if isinstance(key, ECKey) else "RS384"
    return {**public, "kid": key.kid or key.thumbprint(), "use": "sig", "alg": algorithm}


def _key_kind(content: bytes) -> type[RSAKey] | type[ECKey]:
    if content.lstrip().startswith(b"{"):
        return ECKey if orjson.loads(content).get("kty") == "EC" else RSAKey
    try:
        ECKey.import_key(content)
    except (ValueError, JoseError, TypeError, AttributeError):
        return RSAKey
    return ECKey


def assertion(auth: ServerAuth, key: RSAKey | ECKey, endpoint: str) -> str:
    """A fresh signed assertion: one per request, as servers refuse a `jti` they have seen."""
    algorithm = "ES384" if isinstance(key, ECKey) else "RS384"
    now = int(time.time())
    return jwt.encode(
        {"alg": algorithm, "kid": key.kid or key.thumbprint(), "typ": "JWT"},
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
    what = "POST {token endpoint}"
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
