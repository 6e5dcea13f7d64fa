"""Connections that limit the wait for an answer's head as a whole.

A socket's time-out counts from byte to byte: a server that sends one byte of a header now and then
is never late. Here the head must be complete within the read time-out, or the connection is cut.
(The body is read in pieces by us, against the budget of the job.)
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse


class _Cut:
    """Cuts a socket after so many seconds, unless left before."""

    def __init__(self, sock: Any, seconds: float) -> None:
        self._sock = sock
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self.done = False

    def _cut(self) -> None:
        self.done = True
        with contextlib.suppress(OSError, AttributeError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def __enter__(self) -> "_Cut":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


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


class PatientHttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class PatientHttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


POOLS = {"http": PatientHttpPool, "https": PatientHttpsPool}
