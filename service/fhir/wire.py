"""One request on the wire: bounded in time and size, requests' exceptions turned into ours.

Knows nothing of FHIR, sign-in or repetition. The environment is not consulted (no `.netrc`, no
proxy variables): what is sent where is decided by the configuration alone.
"""

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar, get_cookie_header
from requests.utils import check_header_validity, default_user_agent
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.response import BaseHTTPResponse
from urllib3.util import Timeout

from service.fhir.body import read_capped, unpacked
from service.fhir.errors import (
    ConnectionLost,
    TimedOut,
    TransportError,
    Unreachable,
    UnsafeAddress,
)
from service.fhir.origin import Origin, origin_of
from service.fhir.patience import POOLS
from service.fhir.retry import Clock
from service.fhir.servers import ServerConfig

T = TypeVar("T")
_AGENT = default_user_agent()
SERVERS_KEPT = 16
LOOK_SECONDS = 0.5  # between looks at the budget, and whether the job was cancelled


@dataclass(frozen=True, slots=True)
class RawAnswer:
    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body is still to come, unpacked and piece by piece."""

    status: int
    url: str
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class InFlight:
    """For how long at least one exchange was under way: what was waited for the server."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._under_way = 0
        self._since = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._under_way == 0:
                self._since = time.perf_counter()
            self._under_way += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._under_way -= 1
            if self._under_way == 0:
                self.seconds += time.perf_counter() - self._since


_Kind = tuple[str, int, int]
"""Whom else they trust, since when, and how many there may be."""


class Connections:
    """Kept from job to job by a process that lives long, so that not each of them has to get to
    know the servers anew. Nothing of a job stays with them: no cookie, no sign-in.

    Bounded: by server no more than may be used at once, and of servers the few used last. What
    trusts other authorities, or more connections, is another configuration and gets its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._adapters: dict[_Kind, _Adapter] = {}

    def of(self, server: ServerConfig) -> "_Adapter":
        written = os.stat(server.ca_file).st_mtime_ns if server.ca_file else 0
        key = (server.ca_file, written, server.limits.concurrency)
        with self._lock:
            if key not in self._adapters:
                self._adapters[key] = _Adapter(server, SERVERS_KEPT)
                self._drop(lambda one: one[::2] == key[::2] and one != key)
            return self._adapters[key]

    def close(self) -> None:
        with self._lock:
            self._drop(lambda _: True)

    def _drop(self, over: Callable[[_Kind], bool]) -> None:
        """What is under way over them comes to its end."""
        for kind in [kind for kind in self._adapters if over(kind)]:
            self._adapters.pop(kind).close()


class Wire:
    """The connections to one server, set up as `requests` does it and trusting what it trusts; what
    goes over them is handed to urllib3 as it is, for half the time. Cookies are those of one job.
    """

    def __init__(self, server: ServerConfig, kept: Connections | None = None) -> None:
        self._limits = server.limits
        self._slots: dict[Origin, threading.BoundedSemaphore] = {}
        self._pools: dict[Origin, HTTPConnectionPool] = {}
        self.in_flight = InFlight()
        self._jar = RequestsCookieJar()
        self._kept = kept is not None
        self._adapter = _Adapter(server) if kept is None else kept.of(server)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        clock: Clock,
        what: str,
    ) -> RawAnswer:
        with self._slot(url, clock, what), self.in_flight:
            return _ours(
                lambda: self._exchange(method, url, headers, body, clock, what),
                what,
            )

    def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        clock: Clock,
        what: str,
    ) -> RawAnswer:
        with self._begin(method, url, headers, body, clock, what) as response:
            content = read_capped(
                lambda n: response.read1(n, decode_content=False) or b"",
                response.headers.get("Content-Encoding", ""),
                self._limits.body_bytes,
                what,
                lambda: clock.left(what),
            )
            return RawAnswer(response.status, url, response.headers, content)

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str], clock: Clock, what: str
    ) -> Iterator[Stream]:
        """A GET whose body may be larger than memory; who reads it sets its own limits."""
        with self._slot(url, clock, what), ExitStack() as stack:
            begun = self._begin("GET", url, headers, None, clock, what)
            response = _ours(lambda: stack.enter_context(begun), what)
            pieces = _pieces_of(response, clock, what)
            yield Stream(response.status, url, response.headers, pieces)

    @contextmanager
    def _slot(self, url: str, clock: Clock, what: str) -> Iterator[None]:
        """One of the requests that this origin may have under way at once. What hangs in other jobs
        costs this one its own budget, never theirs."""
        slots = self._slots.get(origin := origin_of(url))
        if slots is None:
            slots = self._slots[origin] = _slots(origin, self._limits.concurrency)
        while not slots.acquire(timeout=min(LOOK_SECONDS, clock.left(what))):
            pass
        try:
            yield
        finally:
            slots.release()

    @contextmanager
    def _begin(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        clock: Clock,
        what: str,
    ) -> Iterator[BaseHTTPResponse]:
        left, limits = clock.left(what), self._limits
        response = self._pool(url).urlopen(
            method,
            _target(url),
            body=body,
            headers=self._headers(method, url, headers, body),
            timeout=Timeout(
                connect=min(limits.connect_seconds, left), read=min(limits.read_seconds, left)
            ),
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            self._take_cookies(method, url, response)
            yield response
        finally:
            response.close()
            response.release_conn()

    def _pool(self, url: str) -> HTTPConnectionPool:
        """The connections to one origin, set up as `requests` does it."""
        origin = origin_of(url)
        if origin not in self._pools:
            first = requests.Request("GET", url).prepare()
            pool = self._adapter.get_connection_with_tls_context(first, verify=True)
            self._adapter.cert_verify(pool, url, verify=True, cert=None)  # type: ignore[no-untyped-call]
            self._pools[origin] = cast(HTTPConnectionPool, pool)
        return self._pools[origin]

    def _headers(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> dict[str, str]:
        sent = {"User-Agent": _AGENT, "Connection": "keep-alive", "Accept": "*/*"}
        sent |= {"Accept-Encoding": "gzip", **headers}
        if body is None and method not in ("GET", "HEAD"):
            sent["Content-Length"] = "0"
        for header in headers.items():
            check_header_validity(header)
        return sent | self._cookies(method, url)

    def _cookies(self, method: str, url: str) -> dict[str, str]:
        if not len(self._jar):
            return {}
        asked = requests.Request(method, url).prepare()
        found = get_cookie_header(self._jar, asked)  # type: ignore[no-untyped-call]
        return {"Cookie": found} if found else {}

    def _take_cookies(self, method: str, url: str, response: BaseHTTPResponse) -> None:
        """A server behind others may tell by its cookie which of them has begun a search."""
        if "Set-Cookie" in response.headers:
            asked = requests.Request(method, url).prepare()
            extract_cookies_to_jar(self._jar, asked, response)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        if not self._kept:
            self._adapter.close()


class _Adapter(HTTPAdapter):
    """Trusts the usual certificate authorities and, where given, one more."""

    def __init__(self, server: ServerConfig, origins: int = 4) -> None:
        self._ca_file = server.ca_file
        size = max(4, server.limits.concurrency)
        super().__init__(pool_connections=origins, pool_maxsize=size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._ca_file:
            context = ssl.create_default_context()
            context.load_verify_locations(self._ca_file)
            kwargs["ssl_context"] = context
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS


# Requests under way at once, per origin and for the whole process: a hospital's server is shared.
_SLOTS: dict[Origin, threading.BoundedSemaphore] = {}
_SLOTS_LOCK = threading.Lock()


def _slots(origin: Origin, size: int) -> threading.BoundedSemaphore:
    with _SLOTS_LOCK:
        return _SLOTS.setdefault(origin, threading.BoundedSemaphore(size))


_THEIRS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def _ours(call: Callable[[], T], what: str) -> T:
    """The lower libraries' exceptions as ours."""
    try:
        return call()
    except _THEIRS as error:
        failure = translate(error, what)
    # Outside of the handler on purpose: the cause names the URL, and the URL names the patient.
    raise failure


def _target(url: str) -> str:
    """What of an address stands in the request, byte for byte."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _pieces_of(response: BaseHTTPResponse, clock: Clock, what: str) -> Iterator[bytes]:
    try:
        yield from unpacked(
            lambda n: response.read1(n, decode_content=False) or b"",
            response.headers.get("Content-Encoding", ""),
            what,
            lambda: clock.left(what),
        )
    except _THEIRS as error:
        failure = translate(error, what)
    else:
        return
    raise failure  # as above


def translate(error: Exception, what: str) -> TransportError | UnsafeAddress:
    """The one place where the lower libraries' exceptions become ours."""
    if isinstance(error, _BAD_URL):
        return UnsafeAddress(what)
    if isinstance(error, _NEVER_SENT) or _never_connected(error):
        return Unreachable(what)
    if isinstance(error, _TOO_SLOW):
        return TimedOut(what)
    return ConnectionLost(what)


_BAD_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
)
_NEVER_SENT = (
    requests.exceptions.ConnectTimeout,
    requests.exceptions.SSLError,
    requests.exceptions.ProxyError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.SSLError,
)
_TOO_SLOW = (
    requests.exceptions.Timeout,
    urllib3.exceptions.TimeoutError,
    TimeoutError,
)


def _never_connected(error: Exception) -> bool:
    """requests wraps "could not connect" and "connection reset" in the same ConnectionError."""
    inner = error.args[0] if error.args else None
    if isinstance(inner, urllib3.exceptions.MaxRetryError):
        inner = inner.reason
    return isinstance(inner, _NEVER_SENT)
