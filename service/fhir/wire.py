"""One request on the wire: bounded in time and size, requests' exceptions turned into ours.

Knows nothing of FHIR, sign-in or repetition. The environment is not consulted (no `.netrc`, no
proxy variables): what is sent where is decided by the configuration alone.
"""

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter

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


class Wire:
    """A `requests` session for one server."""

    def __init__(self, server: ServerConfig) -> None:
        self._limits = server.limits
        self._slots: dict[Origin, threading.BoundedSemaphore] = {}
        self.in_flight = InFlight()
        self._session = requests.Session()
        self._session.trust_env = False
        adapter = _Adapter(server)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

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
                lambda n: response.raw.read1(n, decode_content=False) or b"",
                response.headers.get("Content-Encoding", ""),
                self._limits.body_bytes,
                what,
                lambda: clock.left(what),
            )
            return RawAnswer(response.status_code, response.url, response.headers, content)

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str], clock: Clock, what: str
    ) -> Iterator[Stream]:
        """A GET whose body may be larger than memory; who reads it sets its own limits."""
        begin = lambda: self._begin("GET", url, headers, None, clock, what)  # noqa: E731
        with self._slot(url, clock, what), _ours(begin, what) as response:
            pieces = _pieces_of(response, clock, what)
            yield Stream(response.status_code, response.url, response.headers, pieces)

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

    def _begin(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        clock: Clock,
        what: str,
    ) -> requests.Response:
        left = clock.left(what)
        limits = self._limits
        return self._session.request(
            method,
            url,
            headers={"Accept-Encoding": "gzip", **headers},
            data=body,
            stream=True,
            allow_redirects=False,
            timeout=(min(limits.connect_seconds, left), min(limits.read_seconds, left)),
        )

    def close(self) -> None:
        self._session.close()


class _Adapter(HTTPAdapter):
    """Trusts the usual certificate authorities and, where given, one more."""

    def __init__(self, server: ServerConfig) -> None:
        self._ca_file = server.ca_file
        size = max(4, server.limits.concurrency)
        super().__init__(pool_connections=4, pool_maxsize=size, max_retries=0)

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


def _pieces_of(response: requests.Response, clock: Clock, what: str) -> Iterator[bytes]:
    try:
        yield from unpacked(
            lambda n: response.raw.read1(n, decode_content=False) or b"",
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
