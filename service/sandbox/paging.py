"""Open searches: a snapshot per search, opaque tokens that expire, bounded in number."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from service.sandbox.errors import FhirError
from service.sandbox.search import Query
from service.sandbox.store import Resource

T = TypeVar("T")


@dataclass(frozen=True)
class OpenSearch:
    query: Query
    found: list[Resource]
    offset: int
    total: int
    expires: float


def _expired() -> FhirError:
    return FhirError(410, "not-found", "this search has expired; start it again")


class Pages:
    def __init__(
        self,
        lifetime: float,
        limit: int,
        now: Callable[[], float] = time.monotonic,
        expired: Callable[[], FhirError] = _expired,
    ) -> None:
        self._expired = expired
        self._lifetime = lifetime
        self._limit = limit
        self._now = now
        self._open: OrderedDict[str, OpenSearch] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, query: Query, found: list[Resource], offset: int) -> str:
        token = secrets.token_urlsafe(18)
        page = OpenSearch(query, found, offset, len(found), self._now() + self._lifetime)
        with self._lock:
            self._open[token] = page
            while len(self._open) > self._limit:
                self._open.popitem(last=False)
        return token

    def resume(self, token: str) -> OpenSearch:
        with self._lock:
            page = self._open.get(token)
        if page is None or page.expires < self._now():
            raise self._expired()
        return page

    def expire_all(self) -> None:
        """Forget every open search, as a restart of a real server would."""
        with self._lock:
            self._open.clear()
