"""Connections that limit the wait for an answer's head as a whole, and are not kept for too long.

A socket's time-out counts from byte to byte: a server that sends one byte of a header now and then
is never late. Here the head must be complete within the read time-out, or the connection is cut.
(The body is read in pieces by us, against the budget of the job.)

One that nobody has used for a while may be dead without a word: firewalls forget it, and what is
sent over it would be waited for in vain.
"""

import contextlib
import heapq
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

IDLE_SECONDS = 20


class _Watch:
    """One thread that cuts every connection whose time is up; a thread for each of them would
    cost a small answer more than the answer does."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self._due: list[tuple[float, int, _Cut]] = []
        self._thread: threading.Thread | None = None
        self._count = 0

    def add(self, cut: "_Cut", seconds: float) -> None:
        with self.lock:
            self._count += 1
            heapq.heappush(self._due, (time.monotonic() + seconds, self._count, cut))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="patience", daemon=True)
                self._thread.start()
            elif self._due[0][2] is cut:  # sooner than what it sleeps for
                self.lock.notify()

    def _run(self) -> None:
        with self.lock:
            while True:
                self.lock.wait(self._until_next())
                while self._due and self._until_next() == 0:
                    heapq.heappop(self._due)[2].run_out()

    def _until_next(self) -> float | None:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None


_watch = _Watch()


def _after_fork() -> None:
    """A child of this process has none of its threads."""
    global _watch
    _watch = _Watch()


os.register_at_fork(after_in_child=_after_fork)


class _Cut:
    """Cuts a socket after so many seconds, unless left before."""

    def __init__(self, sock: Any, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds
        self._watch = _watch
        self.done = False

    def run_out(self) -> None:
        """Called under the lock: what is over is not cut, somebody else has the socket by then."""
        if self._sock is not None:
            self.done = True
            with contextlib.suppress(OSError, AttributeError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def __enter__(self) -> "_Cut":
        self._watch.add(self, self._seconds)
        return self

    def __exit__(self, *_: object) -> None:
        with self._watch.lock:
            self._sock = None


def _within_timeout(
    connection: HTTPConnection, read_head: Callable[[], HTTPResponse]
) -> HTTPResponse:
    seconds = connection.timeout if isinstance(connection.timeout, int | float) else 60.0
    with _Cut(connection.sock, seconds) as cut:
        try:
            response = read_head()
        except Exception:
            if cut.done:
                raise TimeoutError from None
            raise
    if cut.done:  # the cut may look like the regular end of the head
        response.close()
        raise TimeoutError
    return response


class _Http(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 itself
        return _within_timeout(self, super().getresponse)


class _Https(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 itself
        return _within_timeout(self, super().getresponse)


class _Fresh:
    """A connection pool, part of: what has been idle for too long is opened anew."""

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)  # type: ignore[misc]

    def _get_conn(self, timeout: float | None = None) -> Any:
        conn = super()._get_conn(timeout)  # type: ignore[misc]
        if time.monotonic() - getattr(conn, "idle_since", math.inf) > IDLE_SECONDS:
            conn.close()  # and connects by itself when it is used
        return conn


class PatientHttpPool(_Fresh, HTTPConnectionPool):
    ConnectionCls = _Http


class PatientHttpsPool(_Fresh, HTTPSConnectionPool):
    ConnectionCls = _Https


POOLS = {"http": PatientHttpPool, "https": PatientHttpsPool}
