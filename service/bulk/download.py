"""Fetching one file of an export: as a stream, within bounds, from hosts that were named.

The token goes to the server's own origins, where the manifest asks for it, and nowhere else: not to
object storage, not along a redirect. Where a file may lie is the operator's decision
(`bulk.file_origins`); a name given as `https://*.example.com` has to have a public address.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain

from service.bulk.errors import TooSlow
from service.fhir.body import gunzip
from service.fhir.errors import (
    BadAnswer,
    BudgetSpent,
    ForeignOrigin,
    Refused,
    TooLarge,
)
from service.fhir.http import MAX_REDIRECTS, FhirClient, refusal
from service.fhir.origin import joined, origin_of, require_public
from service.fhir.retry import Clock, pause_before
from service.fhir.source import split_lines
from service.fhir.wire import Stream

WHAT = "GET {export file}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ACCEPT = {"Accept": "application/fhir+ndjson, application/ndjson;q=0.9, */*;q=0.1"}
_GZIP = b"\x1f\x8b"
_ANY = "https://*."


@dataclass
class Downloads:
    """The files of one export. Safe for several threads."""

    client: FhirClient
    file_origins: tuple[str, ...] = ()
    largest: int = 1 << 30
    seconds: float = 3600
    most: int = 1 << 40
    """Bytes of all files together"""
    foreign: set[str] = field(default_factory=set)
    """Origins that files lie at and that nobody named"""
    _taken: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @contextmanager
    def lines(self, url: str, token: bool) -> Iterator[Iterator[bytes | None]]:
        """The lines of one file; None for one that is too long."""
        clock = _FileClock(self.seconds, self.client.clock)
        with ExitStack() as stack:
            stream = self._open(stack, url, token, clock)
            yield split_lines(self._capped(_plain(stream.pieces)))

    def _open(self, stack: ExitStack, url: str, token: bool, clock: Clock) -> Stream:
        for _ in range(MAX_REDIRECTS + 1):
            own = self._guard(url)
            token = token and own
            stream = stack.enter_context(
                self.client.stream(url, _ACCEPT, WHAT, signed=token, clock=clock)
            )
            if stream.status == 200:
                return stream
            if stream.status not in _REDIRECTS:
                raise self._refusal(stream)
            url = joined(stream.url, stream.headers.get("Location", ""))
            stack.close()
        raise BadAnswer(WHAT, next_step="It redirects without end.")

    def _refusal(self, stream: Stream) -> Refused:
        """Thousands of small files make many a server ask for a pause; it is taken here."""
        asked = stream.headers.get("Retry-After")
        if stream.status in (429, 503) and asked is not None:
            self.client.clock.wait(pause_before(1, asked, self.client.server.limits), WHAT)
        return refusal(WHAT, stream.status, None, {})

    def _guard(self, url: str) -> bool:
        """Whether this is one of the server's own origins; refused where nobody vouches for it."""
        origin = origin_of(url)
        if origin in self.client.server.origins:
            return True
        exact = {origin_of(o) for o in self.file_origins if not o.startswith(_ANY)}
        if origin in exact:
            return False
        domains = [o.removeprefix(_ANY) for o in self.file_origins if o.startswith(_ANY)]
        if not any(origin[1].endswith(f".{domain}") for domain in domains):
            self.foreign.add(f"{origin[0]}://{origin[1]}:{origin[2]}")
            step = "If the export's files belong there, list it in `bulk.file_origins`."
            raise ForeignOrigin(WHAT, next_step=step)
        require_public(url, WHAT)
        return False

    def _capped(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > self.largest:
                raise TooLarge(WHAT, next_step="Raise `limits.file_bytes`.")
            with self._lock:
                self._taken += len(piece)
            if self._taken > self.most:
                raise TooLarge(WHAT, next_step="Raise `bulk.total_bytes`.")
            yield piece


class _FileClock(Clock):
    """The time of one file, within that of the whole. A file that drips is late, not the job."""

    def __init__(self, seconds: float, whole: Clock) -> None:
        super().__init__(seconds)
        self._whole = whole

    def left(self, what: str) -> float:
        left = self._whole.left(what)
        try:
            return min(left, super().left(what))
        except BudgetSpent:
            raise TooSlow(what) from None


def _plain(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Unpacked, also where a packed file is not called so (objects named `.gz`)."""
    first = next(pieces, b"")
    whole = chain((first,), pieces)
    return gunzip(whole, WHAT) if first.startswith(_GZIP) else whole
