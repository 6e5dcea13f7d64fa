"""The gate before every route: host, size, sign-in, audience, forms, rate. Closed by default."""

import re
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, redirect, request, url_for
from werkzeug.sansio.utils import host_is_trusted
from werkzeug.wrappers import Response as AnyResponse

from service.auth import AuthError, AuthErrorCode, Kind, Principal
from service.config import Config
from service.config.sections import LOOPBACK
from service.web.audiences import Audience, audiences
from service.web.errors import WebError, error_response
from service.web.rates import Rates
from service.web.services import services

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Probes and scrapers address a pod or a container by whatever name they have for it.
_ANY_HOST = frozenset({"health.live", "health.ready", "health.metrics"})
_LONGEST_ADDRESS = 4096
_AUTH_CODES = {
    AuthErrorCode.MISSING: "sign-in-needed",
    AuthErrorCode.NO_ROLE: "forbidden",
    AuthErrorCode.FORBIDDEN: "forbidden",
    AuthErrorCode.CSRF: "form-expired",
    AuthErrorCode.TOO_MANY: "throttled",
    AuthErrorCode.KEYS_UNAVAILABLE: "busy",
}


class Gate:
    """What is fixed at start-up: trusted hosts, the audience of every endpoint, the rates."""

    def __init__(self, config: Config) -> None:
        self._hosts = _trusted_hosts(config)
        self._audiences: Mapping[str, Audience] = {}
        self._rates = Rates(config.web.requests_per_minute)

    def register(self, app: Flask) -> None:
        app.before_request(self.pass_or_refuse)
        app.register_error_handler(AuthError, lambda error: error_response(_refusal(error)))

    def close(self, app: Flask) -> None:
        """Read the finished routing table. Nothing may be added to it afterwards."""
        self._audiences = audiences(app)

    # -- one request ---------------------------------------------------------------------------

    def pass_or_refuse(self) -> AnyResponse | None:
        """None lets the request through to its view."""
        self._check_host()
        _check_size()
        if request.endpoint is None:
            self._admit(request.remote_addr or "")
            return None  # Flask answers 404 or 405
        audience = self._audiences[request.endpoint]
        if audience.is_open:
            _check_stream()
            return None
        try:
            principal = self._identify()
        except AuthError as error:
            return _to_sign_in(audience, error)
        self._admit(principal.subject)
        _check_stream()
        _check_form(principal)
        if not audience.admits(principal):
            raise WebError("forbidden")
        _check_reach(principal)
        return None

    def _identify(self) -> Principal:
        try:
            found = identify()
        except AuthError:
            # Guessing is braked by address; who is signed in is braked by name.
            self._admit(request.remote_addr or "")
            raise
        g.principal = found
        return found

    def _admit(self, caller: str) -> None:
        wait = self._rates.admit(caller, time.monotonic())
        if wait is not None:
            raise WebError("throttled", headers={"Retry-After": str(wait)})

    def _check_host(self) -> None:
        if self._hosts is None or request.endpoint in _ANY_HOST:
            return
        # Werkzeug checks the characters; its list of names cannot hold an IPv6 address.
        name = urlsplit(f"//{request.host}").hostname if host_is_trusted(request.host) else None
        if name not in self._hosts:
            raise WebError("bad-host")


def identify() -> Principal:
    """The caller, by header or cookie; `AuthError` when there is none."""
    cookie = request.cookies.get(session_cookie())
    return services().access.authenticate(request.headers.get("Authorization"), cookie)


def principal() -> Principal:
    """The caller of a closed route."""
    found: Principal = g.principal
    return found


def session_cookie() -> str:
    """`__Host-` binds a cookie to this host, the whole path and TLS; it needs TLS."""
    return "__Host-twinport" if current_app.config["SESSION_COOKIE_SECURE"] else "twinport"


def form_token() -> str:
    """What a form of the signed-in person must carry; empty where nobody is signed in."""
    token = request.cookies.get(session_cookie())
    return services().access.sessions.csrf(token) if token and g.get("principal") else ""


def new_request_id() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


# -- steps -------------------------------------------------------------------------------------


def _trusted_hosts(config: Config) -> frozenset[str] | None:
    """Only the configured name. Without one, a service on loopback answers to loopback names,
    which is what keeps a foreign page from reaching it by rebinding its own name."""
    if config.web.public_url:
        return LOOPBACK | {urlsplit(config.web.public_url).hostname or ""}
    return LOOPBACK if config.web.host in LOOPBACK else None


def _check_size() -> None:
    if len(request.path) + len(request.query_string) > _LONGEST_ADDRESS:
        raise WebError("address-too-long")
    length = request.content_length
    if length is not None and length > current_app.config["MAX_CONTENT_LENGTH"]:
        raise WebError("body-too-large")


def _check_stream() -> None:
    """A body of unknown length is read here, because Werkzeug would cut it off at the limit
    without a word, and what is left of a form is a form."""
    if "Transfer-Encoding" not in request.headers:
        return
    if len(request.get_data()) >= current_app.config["MAX_CONTENT_LENGTH"]:
        raise WebError("body-too-large")


def _check_form(caller: Principal) -> None:
    """A browser sends its cookie along on anybody's behalf: what it posts must carry our token."""
    if caller.kind is not Kind.SESSION or request.method in _SAFE_METHODS:
        return
    given = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    token = request.cookies.get(session_cookie(), "")
    services().access.sessions.check_csrf(token, given)


def _check_reach(caller: Principal) -> None:
    """Whoever is bound to one twin finds no other, whichever route it is asked of."""
    named = (request.view_args or {}).get("pseudonym")
    if named is not None and not caller.may_see(named):
        raise WebError("not-found")


def _refusal(error: AuthError) -> WebError:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    code = _AUTH_CODES.get(error.code, "sign-in-refused")
    if code == "sign-in-refused":
        headers["WWW-Authenticate"] = 'Bearer realm="twinport", error="invalid_token"'
    return WebError(code, headers=headers)


def _to_sign_in(audience: Audience, error: AuthError) -> AnyResponse:
    if audience.is_page and request.method in {"GET", "HEAD"} and error.status == 401:
        return redirect(url_for("sign_in.show", next=request.path), 303)
    return error_response(_refusal(error))


# -- what every answer carries -------------------------------------------------------------------

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def add_headers(response: Response) -> Response:
    """Security headers on everything; `no-store` on everything but the static files."""
    headers = response.headers
    headers["X-Request-Id"] = g.get("request_id", "")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers.setdefault("Content-Security-Policy", _POLICY)
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    if current_app.config["SESSION_COOKIE_SECURE"]:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    if request.endpoint != "static":
        headers["Cache-Control"] = "no-store"
        headers.add("Vary", "Accept, Authorization, Cookie")
    return response
